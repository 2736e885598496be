"""What the tables and the figure of a domain show; filled in by each domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]
"""One run's metrics, as its JSON has them."""

LEAST_PLAIN = 1e-3
"""Below this a latency is shown by its leading digits."""

QUANTILE_ROWS = (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("p99.9", "p999"))
"""Quantiles of a latency that a comparison shows: label, and key in JSON."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency-like metric.

    Attributes:
        label: What tables call it.
        metric: Its key in JSON.
        unit: Its unit; empty for a ratio.
    """

    label: str
    metric: str
    unit: str = "s"

    @property
    def comma_unit(self) -> str:
        """The unit as it follows a label."""
        return f", {self.unit}" if self.unit else ""


@dataclass(frozen=True, slots=True)
class FigureSpec:
    """What the figure shows.

    Attributes:
        quantity: Name of the headline metric.
        unit: Its unit; empty for a ratio.
        items: What it is a share of.
        per_point: Items that a point over time needs at least.
        time_unit: Unit of the time axis.
        time_unit_s: Seconds in that.
    """

    quantity: str
    unit: str
    items: str
    per_point: int = 250
    time_unit: str = "s"
    time_unit_s: float = 1.0

    @property
    def axis(self) -> str:
        """Label of the metric's axis."""
        return f"{self.quantity}, {self.unit}" if self.unit else self.quantity


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """What tables show of a domain's metrics.

    Attributes:
        latencies: Whose quantiles a comparison shows, with their ratios to the fallback's.
        replay_latencies: The same for the table of one replay.
        gain_of: Tails, as (metric, quantile), for which the gain kept behind the guard is given.
        training: Metrics, as (metric, quantile), of the table of a training.
        rows: Further rows of a comparison: label, and what it shows of an entry.
        training_row: The last column of the table of a training: label, and what it shows.
        replay_lines: Lines under the table of one replay.
        more: Further tables of a comparison from the entries by arm, as (title, header, rows).
        quantiles: Which of a latency a comparison shows: label, and key in JSON.
        min_for: Measured items that a quantile needs before it counts; with fewer its value is marked.
        figure: What the figure shows.
    """

    latencies: tuple[Latency, ...]
    replay_latencies: tuple[Latency, ...]
    gain_of: tuple[tuple[str, str], ...]
    training: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, Callable[[Entry], str]], ...]
    training_row: tuple[str, Callable[[Entry], str]]
    replay_lines: Callable[[Entry], Sequence[str]]
    figure: FigureSpec
    more: Callable[[Mapping[str, Entry]], Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]] = lambda _: ()
    quantiles: tuple[tuple[str, str], ...] = QUANTILE_ROWS
    min_for: Mapping[str, int] = field(default_factory=lambda: {"p99": 5_000, "p999": 50_000})

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys of the latencies whose ratios are given."""
        return tuple(latency.metric for latency in self.latencies)

    def latency(self, metric: str) -> Latency:
        """The latency of that key."""
        return next(latency for latency in self.latencies if latency.metric == metric)


def number(value: float | None) -> str:
    """A count or rate with two decimals, ``-`` where there is none."""
    return "-" if value is None else f"{value:,.2f}"


def share(value: float | None) -> str:
    """A share in per cent, empty where there is none."""
    return "" if value is None else f"{value:.1%}"


def latency(value: float | None) -> str:
    """Seconds or a ratio, ``lost`` where it falls among the lost."""
    if value is None:
        return "lost"
    if 0 < value < LEAST_PLAIN:
        return f"{value:.3g}"
    return f"{value:.4f}" if value < 10 else f"{value:.2f}"
