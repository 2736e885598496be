"""What the tables and the figure of cluster scheduling show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..report.spec import Entry, FigureSpec, Latency, ReportSpec, latency

LATENCIES = (Latency("slowdown", "bounded_slowdown", ""), Latency("wait", "wait_s"), Latency("JCT", "jct_s"))


def lost(entry: Entry) -> str:
    """Jobs lost, by reason."""
    counts = entry["lost"]
    return " + ".join(f"{counts[reason]:,}" for reason in ("rejected", "unfinished", "failed", "killed"))


def attainment(entry: Entry) -> str:
    """Share of jobs that attain the objective."""
    return f"{entry['slo_attainment']:.2%}"


def misses(entry: Entry) -> str:
    """Deadlines missed, of how many."""
    return f"{entry['deadline_misses']:,} of {entry['deadlines']:,}" if entry["deadlines"] else "-"


def spread(entry: Entry) -> str:
    """How far the tenants' p95 slowdowns lie apart."""
    value = entry["fairness"]["p95_slowdown_spread"]
    return "-" if value is None else latency(value)


def _percent(key: str) -> Callable[[Entry], str]:
    def show(entry: Entry) -> str:
        return "-" if entry[key] is None else f"{entry[key]:.1%}"

    return show


ROWS = (
    ("lost (rejected + unfinished + failed + killed)", lost),
    ("SLO attainment", attainment),
    ("utilisation of what is up", _percent("utilisation")),
    ("GPUs (processors) allocated", _percent("gpu_allocated")),
    ("fragmentation", _percent("fragmentation")),
    ("spread of tenants' p95 slowdown", spread),
    ("wasted work", _percent("wasted_share")),
    ("deadlines missed", misses),
)


def size_table(entries: Mapping[str, Entry]) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Tails by class of job size, one row a class."""
    header = ["GPUs (processors)", "jobs"]
    header += [f"{name} {what}" for what in ("p99 slowdown", "p99 wait, s") for name in entries]
    rows = []
    for size, counted in entries["fallback"]["by_size"].items():
        cells = [size, f"{counted['jobs']:,}"]
        for key in ("p99_slowdown", "p99_wait_s"):
            cells += [_cell(entry, size, key) for entry in entries.values()]
        rows.append(cells)
    return [("\nby job size", header, rows)]


def _cell(entry: Entry, size: str, key: str) -> str:
    if "failed" in entry:
        return "failed"
    found = entry["by_size"][size]
    return "-" if not found["jobs"] else latency(found[key])


def replay_lines(content: Entry) -> list[str]:
    """Lines under the table of one replay."""
    lines = [f"{label}: {show(content)}" for label, show in ROWS]
    sizes = [
        f"{size}: {found['jobs']:,} jobs, p99 slowdown {latency(found['p99_slowdown'])}"
        for size, found in content["by_size"].items()
        if found["jobs"]
    ]
    return [*lines, f"by GPUs (processors): {'; '.join(sizes)}"]


REPORT = ReportSpec(
    latencies=LATENCIES,
    replay_latencies=LATENCIES,
    gain_of=(("bounded_slowdown", "p99"), ("wait_s", "p99")),
    training=(("bounded_slowdown", "mean"), ("bounded_slowdown", "p99"), ("wait_s", "mean"), ("wait_s", "p99")),
    rows=ROWS,
    training_row=("SLO attainment", attainment),
    replay_lines=replay_lines,
    more=size_table,
    figure=FigureSpec("bounded slowdown", "", "jobs", time_unit="days", time_unit_s=86_400.0),
)
