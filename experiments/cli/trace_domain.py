"""What ``handrail traces`` needs to know of a domain, and the tables that all domains share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ...traces.errors import HandrailError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ...traces.common.statistics import ColumnDistance

Row = tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How trace files are read; ``None`` where the user said nothing."""

    failures: str | None
    map: list[str] | None
    format: str
    spread_seed: int | None
    sort: bool
    max_rows: int | None
    max_bytes: int | None
    permute: bool | None = None
    block_bytes: int | None = None

    def refuse(self, *options: str, domain: str) -> None:
        """Refuse options that are another domain's.

        Raises:
            HandrailError: One of them was given.
        """
        for option in options:
            if getattr(self, option) is not None:
                raise HandrailError(f"--{option.replace('_', '-')} is for --domain {domain}; leave it out")

    def common(self) -> dict[str, Any]:
        """The keyword arguments that the loaders of all domains take.

        Raises:
            HandrailError: A ``--map`` that is not FIELD=COLUMN.
        """
        from ...traces.common.source import DEFAULT_MAX_BYTES, DEFAULT_MAX_ROWS

        mapping: dict[str, str] = {}
        for item in self.map or []:
            field, equals, column = item.partition("=")
            if not (field and equals and column):
                raise HandrailError(f"--map {item!r} is not FIELD=COLUMN, as in arrival_s=ts")
            mapping[field] = column
        return {
            "format": self.format,
            "mapping": mapping or None,
            "sort": self.sort,
            "max_rows": DEFAULT_MAX_ROWS if self.max_rows is None else self.max_rows,
            "max_bytes": DEFAULT_MAX_BYTES if self.max_bytes is None else self.max_bytes,
        }


@dataclass(frozen=True)
class Generator:
    """A model that traces are drawn from: its config, the draw, and how many items are expected."""

    config: type[BaseModel]
    draw: Callable[[Any, int], Any]
    expected: Callable[[Any], float]


@dataclass(frozen=True)
class TraceDomain:
    """One domain's traces.

    Attributes:
        items: What a row is, in the plural; also the key of their number in JSON.
        bundled: Name of the trace that comes with handrail.
        bundled_path: Where it is.
        fetched: Whether the catalog of public traces is this domain's.
        read: From a file or name and a ``Reading`` to a trace.
        write: From a trace and a path to a file.
        describe: From a trace to its summary, which has ``to_json``.
        compare: From two traces to their distances by column.
        rows: From traces and summaries to the rows of the table: a label and a cell a trace.
        generators: By name, the default first.
        facts: What a generated trace's record says beside the number of items and the content hash.
    """

    items: str
    bundled: str
    bundled_path: Path
    fetched: bool
    read: Callable[[str, Reading], Any]
    write: Callable[[Any, Path], None]
    describe: Callable[[Any], Any]
    compare: Callable[[Any, Any], dict[str, ColumnDistance]]
    rows: Callable[[Sequence[Any], Sequence[Any]], list[Row]]
    generators: dict[str, Generator]
    facts: Callable[[Any], dict[str, int]]


def trace_domain(name: str) -> TraceDomain:
    """The domain of that name.

    Raises:
        HandrailError: There is none.
    """
    if name == "llm":
        from .traces_llm import LLM

        return LLM
    if name == "cluster":
        from .traces_cluster import CLUSTER

        return CLUSTER
    if name == "prefetch":
        from .traces_cache import PREFETCH

        return PREFETCH
    raise HandrailError(f"--domain {name!r} has no traces here; choose llm, cluster or prefetch")


def summary_table(names: list[str], rows: list[Row]) -> Table:
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(Path(name).name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def distance_table(distances: dict[str, ColumnDistance]) -> Table:
    table = Table(box=None, title="B against A", title_justify="left")
    table.add_column("")
    for heading in ("KS", "Wasserstein", "p90 B/A", "p95 B/A", "p99 B/A", "p99.9 B/A"):
        table.add_column(heading, justify="right")
    for column, distance in distances.items():
        ratios = (number(ratio) for ratio in distance.tail_ratio.values())
        table.add_row(column, f"{distance.ks:.3f}", number(distance.wasserstein), *ratios)
    return table


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
