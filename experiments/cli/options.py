"""Options that several commands share, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ...traces.errors import HandrailError

if TYPE_CHECKING:
    from ...traces import RequestTrace
    from ..scenario import Scenario

DOMAINS = ("llm", "cluster", "prefetch")

Domain = Annotated[str, typer.Option(help="What is simulated; llm is there so far.")]
Trace = Annotated[str, typer.Option(help="Trace file (plain or .gz), or 'bundled'.", metavar="PATH_OR_NAME")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", help="Column of a generic CSV or Parquet file, such as arrival_s=ts.", metavar="FIELD=COLUMN"
    ),
]
Failures = Annotated[str, typer.Option(help="Failed requests (0 output tokens): drop or retry.", metavar="drop|retry")]
Sort = Annotated[bool, typer.Option("--sort", help="Sort a trace whose time goes backwards.")]
Window = Annotated[str | None, typer.Option(help="Part of the trace, in seconds.", metavar="START:END")]
Split = Annotated[str | None, typer.Option(help="Part by time.", metavar="all|train|validation|test")]
Rate = Annotated[float | None, typer.Option(help="Factor on the trace's arrival rate.", metavar="F")]
Load = Annotated[float | None, typer.Option(help="Share of the fleet's capacity to load it to.", metavar="SHARE")]
LoadBy = Annotated[
    str | None, typer.Option(help="How the rate is changed; by default what fits.", metavar="superpose|thin|compress")
]
Replicas = Annotated[str, typer.Option(help="The fleet.", metavar="GPU:COUNT,...")]
Preset = Annotated[str, typer.Option(help="The replicas' scheduler.", metavar="vllm-v1|vllm-v0")]
TelemetryDelay = Annotated[float, typer.Option(help="Age of what replicas report, in seconds.", metavar="SECONDS")]
SloTtft = Annotated[float, typer.Option(help="Longest TTFT that attains the objective, in seconds.", metavar="SECONDS")]
SloTbt = Annotated[float, typer.Option(help="Longest TPOT that attains the objective, in seconds.", metavar="SECONDS")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a trace is read."""

    trace: str
    map: list[str] | None
    failures: str
    sort: bool


def check_domain(domain: str) -> None:
    """Refuse a domain that is not there.

    Raises:
        HandrailError: It is unknown, or not built.
    """
    if domain not in DOMAINS:
        raise HandrailError(f"--domain {domain!r} is unknown; choose one of {', '.join(DOMAINS)}")
    if domain != "llm":
        raise HandrailError(f"--domain {domain}: this version of handrail has the domain llm only")


def read_trace(reading: Reading) -> RequestTrace:
    """Load a trace as the options say.

    Raises:
        HandrailError: An option or the file is wrong.
    """
    from ...traces import load_trace

    if reading.failures not in ("drop", "retry"):
        raise HandrailError(f"--failures {reading.failures!r}: choose drop or retry (a failed request has no length)")
    if not str(reading.trace):
        raise HandrailError("--trace is empty; give a path or a name, such as bundled")
    mapping: dict[str, str] = {}
    for item in reading.map or []:
        field, equals, column = item.partition("=")
        if not (field and equals and column):
            raise HandrailError(f"--map {item!r} is not FIELD=COLUMN, as in arrival_s=ts")
        if field in mapping:
            raise HandrailError(f"--map {field} is given twice ({mapping[field]!r} and {column!r}); give it once")
        mapping[field] = column
    return load_trace(reading.trace, mapping=mapping or None, failures=reading.failures, sort=reading.sort)


def build_scenario(**values: object) -> Scenario:
    """A scenario from option values.

    Raises:
        HandrailError: A value is out of its range.
    """
    from pydantic import ValidationError

    from ..scenario import Scenario

    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise HandrailError(f"{_option_of(first['loc'])}: {first['msg']}, not {first['input']!r}") from None


def _option_of(location: tuple[object, ...]) -> str:
    names = {"telemetry_delay_s": "telemetry-delay", "slo_ttft_s": "slo-ttft", "slo_tbt_s": "slo-tbt"}
    name = str(location[-1])
    return f"--{names.get(name, name.replace('_', '-'))}"
