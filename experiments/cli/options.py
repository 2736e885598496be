"""Options that several commands share, in groups (see ``grouped``), and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...traces.errors import HandrailError
from .cluster_options import ClusterOptions, NativeOptions
from .llm_options import LLMOptions
from .prefetch_options import PrefetchOptions

if TYPE_CHECKING:
    from ..domains import Domain as DomainObject
    from ..scenario import Scenario
    from ..scenarios import Stress

Domain = Annotated[str, typer.Option(help="What is simulated.", metavar="llm|cluster|prefetch")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", help="Column of a generic CSV or Parquet file, such as arrival_s=ts.", metavar="FIELD=COLUMN"
    ),
]
Sort = Annotated[bool, typer.Option("--sort", help="Sort a trace whose time goes backwards.")]
Split = Annotated[str | None, typer.Option(help="Part by time.", metavar="all|train|validation|test")]
Policy = Annotated[
    str | None,
    typer.Option(
        help="Policy folder, heuristic, or sabotage:KIND (worst, random, constant, nan, slow, raise, wrong-shape, "
        "flapping, hanging, sleeper, untrained, foreign); by default bundled.",
        metavar="DIR_OR_NAME",
    ),
]
GuardFile = Annotated[
    Path | None,
    typer.Option(
        "--guard",
        help="The guard, in YAML or JSON; by default the policy folder's guard.json, else the domain's.",
        metavar="FILE",
    ),
]
StressText = Annotated[
    str | None,
    typer.Option(
        "--stress",
        help="What goes wrong: parts joined by +, each NAME[:SETTING][@ONSET-END] in shares of the window, such as "
        "load:2, flash-crowd, straggler@0.3-0.6, stale:policy, policy:worst; by default from 1/3 to 2/3.",
        metavar="TEXT",
    ),
]
Isolate = Annotated[
    float | None,
    typer.Option(
        "--isolate",
        help="Run the policy in a process of its own, killed when a decision takes longer than this in wall time; "
        "not reproducible.",
        metavar="SECONDS",
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Replays at once; changes no result.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """Which trace is replayed, which part of it, and how fast it comes."""

    trace: Annotated[str, typer.Option(help="Trace file (plain or .gz), or 'bundled'.", metavar="PATH_OR_NAME")] = (
        "bundled"
    )
    map_: Map = None
    sort: Sort = False
    window: Annotated[str | None, typer.Option(help="Part of the trace, in seconds.", metavar="START:END")] = None
    rate: Annotated[float | None, typer.Option(help="Factor on the trace's arrival rate.", metavar="F")] = None
    load: Annotated[
        float | None, typer.Option(help="Share of the system's capacity to load it to.", metavar="SHARE")
    ] = None
    load_by: Annotated[
        str | None,
        typer.Option(help="How the rate is changed; by default what fits.", metavar="superpose|thin|compress"),
    ] = None

    @property
    def base_name(self) -> str:
        """The trace without its folder."""
        return base_name(self.trace)

    def mapping(self) -> dict[str, str] | None:
        """``--map`` as a dictionary.

        Raises:
            HandrailError: An item of it is not FIELD=COLUMN, or a field is given twice.
        """
        mapping: dict[str, str] = {}
        for item in self.map_ or []:
            field, equals, column = item.partition("=")
            if not (field and equals and column):
                raise HandrailError(f"--map {item!r} is not FIELD=COLUMN, as in arrival_s=ts")
            if field in mapping:
                raise HandrailError(f"--map {field} is given twice ({mapping[field]!r} and {column!r}); give it once")
            mapping[field] = column
        return mapping or None

    def words(self, load: float | None, split: str | None = None) -> list[str]:
        """Mapping, window, ``split`` and rate (or ``load``) as on the command line."""
        words = [word for item in self.map_ or [] for word in ("--map", item)]
        given = {"window": self.window, "split": split, "rate": self.rate, "load": load, "load-by": self.load_by}
        return words + [
            word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))
        ]


def chosen(domain: str, *groups: Any) -> tuple[DomainObject, Any]:
    """The domain of that name and, of the domains' groups of options, its own.

    Raises:
        HandrailError: There is no such domain, or an option of another domain is given.
    """
    from ..domains import domain_named

    found = domain_named(domain)
    for group in groups:
        if group.domain == domain:
            continue
        for option in fields(group):
            if getattr(group, option.name) is not None:
                raise HandrailError(f"--{option.name.replace('_', '-')} is an option of --domain {group.domain}")
    return found, next(group for group in groups if group.domain == domain)


def build_scenario(domain: DomainObject, traffic: TrafficOptions, fields: dict[str, Any], **values: object) -> Scenario:
    """A scenario from option values; those of ``values`` that are None take the domain's default.

    Args:
        domain: The domain.
        traffic: Window and rate.
        fields: What the domain's own options set.
        values: What the command's other options set.

    Raises:
        HandrailError: A value is out of its range.
    """
    from pydantic import ValidationError

    from ..scenario import parse_window

    window_s = None if traffic.window is None else parse_window(traffic.window)
    given = {"window_s": window_s, "rate": traffic.rate, "load": traffic.load, "load_by": traffic.load_by, **values}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return domain.scenario_type.model_validate({**fields, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        raise HandrailError(f"{_option_of(first['loc'])}: {message}, not {first['input']!r}") from None


def default_load(domain: DomainObject, traffic: TrafficOptions) -> float | None:
    """The load that a comparison or training is brought to: as asked, else the domain's default."""
    return domain.default_load if traffic.rate is None and traffic.load is None else traffic.load


def read_stress(text: str | None) -> Stress:
    """What ``--stress`` names; nothing goes wrong where it is not given.

    Raises:
        HandrailError: It is empty or not understood.
    """
    from ..scenarios import NO_STRESS, parse_stress

    if text is None:
        return NO_STRESS
    if not text.strip():
        raise HandrailError("--stress is empty; name what goes wrong, such as load:2, or leave it out")
    try:
        return parse_stress(text)
    except HandrailError as error:
        raise HandrailError(f"--stress: {error}") from None


def read_isolation(isolate_s: float | None) -> float | None:
    """What ``--isolate`` says.

    Raises:
        HandrailError: It is not above 0.
    """
    if isolate_s is not None and not 0.0 < isolate_s < float("inf"):
        raise HandrailError(f"--isolate needs a number of seconds above 0, got {isolate_s:g}")
    return isolate_s


def stress_words(stress: Stress, isolate_s: float | None) -> list[str]:
    """``--stress`` and ``--isolate`` as on the command line, where they are given."""
    words = ["--stress", stress.name] if stress.parts else []
    return words + (["--isolate", str(isolate_s)] if isolate_s is not None else [])


def domain_words(domain: DomainObject) -> list[str]:
    """``--domain`` as on the command line, where it is needed."""
    return [] if domain.name == "llm" else ["--domain", domain.name]


def base_name(path_or_name: str) -> str:
    """A path without its folder; what is no path stays as it is."""
    return Path(path_or_name).name or path_or_name


def check_name(trace: str) -> None:
    """Refuse an empty ``--trace``.

    Raises:
        HandrailError: It is empty.
    """
    if not trace:
        raise HandrailError("--trace is empty; give a path or a name, such as bundled")


def _option_of(location: tuple[object, ...]) -> str:
    return f"--{str(location[-1]).removesuffix('_s').replace('_', '-')}"


__all__ = [
    "ClusterOptions",
    "Domain",
    "Isolate",
    "Json",
    "LLMOptions",
    "Map",
    "NativeOptions",
    "Policy",
    "PrefetchOptions",
    "Quiet",
    "Seed",
    "Sort",
    "Split",
    "StressText",
    "TrafficOptions",
    "Workers",
    "base_name",
    "build_scenario",
    "check_name",
    "chosen",
    "default_load",
    "domain_words",
    "read_isolation",
    "read_stress",
    "stress_words",
]
