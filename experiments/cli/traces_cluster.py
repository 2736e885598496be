"""``handrail traces`` for job traces of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...traces import JobTrace, load_job_trace
from ...traces.cluster import lublin, philly_like
from ...traces.cluster.describe import JobSummary, compare_traces, describe
from ...traces.cluster.load import BUNDLED, BUNDLED_PATH
from ...traces.cluster.lublin_config import LublinConfig
from ...traces.cluster.philly_like_config import PhillyLikeConfig
from ...traces.cluster.write import write_job_trace
from .trace_domain import Generator, Reading, Row, TraceDomain, number, share


def _read(name: str, reading: Reading) -> JobTrace:
    reading.refuse("failures", "spread_seed", domain="llm")
    reading.refuse("permute", "block_bytes", domain="prefetch")
    return load_job_trace(name, **reading.common())


def _rows(traces: Sequence[JobTrace], summaries: Sequence[JobSummary]) -> list[Row]:
    rows: list[Row] = [("jobs", *(f"{s.jobs:,}" for s in summaries))]
    if any(s.endless for s in summaries):
        rows.append(("of them never leave", *(f"{s.endless:,}" for s in summaries)))
    left_out = [sum(trace.notes.get(name, 0) for name in ("parts", "cancelled", "dropped")) for trace in traces]
    rows.append(("left out of the recording", *(f"{count:,}" for count in left_out)))
    rows.append(("duration, days", *(f"{s.duration_s / 86_400:,.2f}" for s in summaries)))
    for label, attribute in (
        ("rate, jobs/h", "rate_per_h"),
        ("mean size in use", "mean_size_in_use"),
        ("machine, processors", "machine_processors"),
        ("offered load", "offered_load"),
    ):
        rows.append((label, *(number(getattr(s, attribute)) for s in summaries)))
    for quantile in ("mean", "p50", "p90", "p99", "p999", "max"):
        rows.append((f"run time {quantile}, s", *(f"{_of(s.run_s, quantile)}" for s in summaries)))
    for label, attribute in (("size", "sizes"), ("tenant", "tenants")):
        for value in dict.fromkeys(value for s in summaries for value in getattr(s, attribute)):
            cells = [getattr(s, attribute).get(value) for s in summaries]
            rows.append((f"{label} {value}, jobs / area", *(_shares(cell) for cell in cells)))
    rows.append(("area of the largest 1 % of jobs", *(share(s.top_percent_area) for s in summaries)))
    for label, attribute in (
        ("size and run time, Spearman", "size_run_spearman"),
        ("run time like the previous one", "run_like_previous"),
        ("inter-arrival CV", "interarrival_cv"),
        ("Fano factor, 1 h", "fano_1h"),
        ("busiest hour / mean", "peak_to_mean_1h"),
        ("busiest day / mean", "peak_to_mean_1d"),
        ("busiest hour of the day / mean", "daily_cycle"),
    ):
        rows.append((label, *(number(getattr(s, attribute)) for s in summaries)))
    rows.append(("jobs with an estimate", *(share(s.estimates.known if s.estimates else 0.0) for s in summaries)))
    if any(s.estimates for s in summaries):
        for label, attribute in (
            ("run time / estimate, mean", "accuracy_mean"),
            ("run time / estimate, p50", "accuracy_p50"),
            ("estimates below the run time", "below"),
            ("estimates of the 20 popular values", "popular"),
        ):
            cells = [getattr(s.estimates, attribute) if s.estimates else None for s in summaries]
            rows.append((label, *(share(cell) for cell in cells)))
    return rows


def _of(quantiles: dict[str, float], name: str) -> str:
    return f"{quantiles[name]:,.0f}" if quantiles else "-"


def _shares(cell: Any) -> str:
    return "-" if cell is None else f"{cell.jobs:.1%} / {cell.area:.1%}"


def _expected(config: Any) -> float:
    return config.expected_jobs


CLUSTER = TraceDomain(
    items="jobs",
    bundled=BUNDLED,
    bundled_path=BUNDLED_PATH,
    fetched=False,
    read=_read,
    write=write_job_trace,
    describe=describe,
    compare=compare_traces,
    rows=_rows,
    generators={
        "philly-like": Generator(PhillyLikeConfig, philly_like.generate, _expected),
        "lublin": Generator(LublinConfig, lublin.generate, _expected),
    },
    facts=lambda trace: {},
)
