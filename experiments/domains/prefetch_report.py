"""What the tables and the figure of cache prefetching show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..report.spec import QUANTILE_ROWS, Entry, FigureSpec, Latency, ReportSpec

ACCESS = Latency("access", "access_s")


def lost(entry: Entry) -> str:
    """Accesses that never ended."""
    return f"{entry['lost']['unfinished']:,}"


def attainment(entry: Entry) -> str:
    """Share of accesses that attain the objective."""
    return f"{entry['slo_attainment']:.2%}"


def misses(entry: Entry) -> str:
    """Demand misses, and accesses that met a fetch under way."""
    return f"{entry['misses']:,} + {entry['delayed_hits']:,}"


def pollution(entry: Entry) -> str:
    """Misses on what prefetching pushed out."""
    return f"{entry['pollution']['misses']:,} ({entry['pollution']['share_of_misses']:.1%} of misses)"


def ends(entry: Entry) -> str:
    """Prefetches that are done with, by what became of them."""
    counts = entry["prefetches_by_end"]
    return " + ".join(f"{counts[end]:,}" for end in ("useful", "late", "useless"))


def moved(entry: Entry) -> str:
    """All bytes over the tier's link."""
    return f"{entry['bytes']['total'] / 1e6:,.1f}"


def fetched_over_alone(entry: Entry) -> str:
    """What was fetched over what demand alone would have fetched."""
    over = entry["bytes"]["fetched_over_alone"]
    return "-" if over is None else f"{over:.3f}"


def waiting(entry: Entry) -> str:
    """Mean wait of a demand fetch for the tier's server."""
    return _seconds(entry["queueing_delay_s"]["demand"])


def _percent(key: str) -> Callable[[Entry], str]:
    def show(entry: Entry) -> str:
        return "-" if entry[key] is None else f"{entry[key]:.1%}"

    return show


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


ROWS = (
    ("unfinished", lost),
    ("SLO attainment", attainment),
    ("hit ratio", _percent("hit_ratio")),
    ("misses + delayed hits", misses),
    ("prefetches", lambda entry: f"{entry['prefetches']:,}"),
    ("useful + late + useless", ends),
    ("coverage", _percent("coverage")),
    ("accuracy", _percent("accuracy")),
    ("timeliness", _percent("timeliness")),
    ("pollution", pollution),
    ("moved, MB", moved),
    ("fetched over demand alone", fetched_over_alone),
    ("tier utilisation", _percent("utilisation")),
    ("queueing delay of demand, s", waiting),
)


def tenant_table(entries: Mapping[str, Entry]) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Latencies by tenant, one row a tenant; nothing where there is one only."""
    tenants = entries["fallback"]["tenants"]
    if len(tenants) < 2:
        return []
    header = ["tenant", "accesses"]
    header += [f"{name} {what}" for what in ("mean, s", "p99.9, s") for name in entries]
    rows = []
    for tenant, counted in tenants.items():
        cells = [tenant, f"{counted['accesses']:,}"]
        for key in ("mean", "p999"):
            cells += [_cell(entry, tenant, key) for entry in entries.values()]
        rows.append(cells)
    return [("\naccess latency by tenant", header, rows)]


def _cell(entry: Mapping[str, Any], tenant: str, key: str) -> str:
    return "failed" if "failed" in entry else _seconds(entry["tenants"][tenant]["access_s"][key])


def replay_lines(content: Entry) -> list[str]:
    """Lines under the table of one replay."""
    lines = [f"{label}: {show(content)}" for label, show in ROWS]
    tenants = [
        f"{name}: {found['accesses']:,} accesses, hit ratio {found['hit_ratio']:.1%}, "
        f"p99 {_seconds(found['access_s']['p99'])} s, p99.9 {_seconds(found['access_s']['p999'])} s"
        for name, found in content["tenants"].items()
    ]
    return [*lines, *(tenants if len(tenants) > 1 else [])]


REPORT = ReportSpec(
    latencies=(ACCESS,),
    replay_latencies=(ACCESS,),
    gain_of=(("access_s", "mean"), ("access_s", "p99")),
    training=(("access_s", "mean"), ("access_s", "p99"), ("access_s", "p999")),
    rows=ROWS,
    training_row=("fetched over demand alone", fetched_over_alone),
    replay_lines=replay_lines,
    more=tenant_table,
    quantiles=(("mean", "mean"), *QUANTILE_ROWS),
    figure=FigureSpec("access latency", "s", "accesses"),
)
