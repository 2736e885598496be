"""``handrail traces`` for access traces of caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...traces import AccessTrace, load_access_trace
from ...traces.cache.describe import AccessSummary, compare_traces, describe
from ...traces.cache.generator import generate_accesses
from ...traces.cache.generator_config import AccessConfig
from ...traces.cache.load import BUNDLED, BUNDLED_PATH
from ...traces.cache.write import write_access_trace
from .trace_domain import Generator, Reading, Row, TraceDomain, number, share


def _read(name: str, reading: Reading) -> AccessTrace:
    reading.refuse("failures", domain="llm")
    seed = 0 if reading.spread_seed is None else reading.spread_seed
    return load_access_trace(
        name,
        spread=seed != -1,
        seed=0 if seed == -1 else seed,
        permute=reading.permute,
        block_bytes=reading.block_bytes,
        **reading.common(),
    )


def _rows(traces: Sequence[AccessTrace], summaries: Sequence[AccessSummary]) -> list[Row]:
    rows: list[Row] = [("accesses", *(f"{s.accesses:,}" for s in summaries))]
    rows.append(("distinct objects", *(f"{s.distinct_objects:,}" for s in summaries)))
    rows.append(("footprint, MB", *(number(s.footprint_bytes / 1e6) for s in summaries)))
    rows.append(("accessed, MB", *(number(s.accessed_bytes / 1e6) for s in summaries)))
    rows.append(("can be prefetched", *(_BACKINGS[s.backing] for s in summaries)))
    rows.append(("duration, s", *(f"{s.duration_s:,.1f}" for s in summaries)))
    for label, attribute in (
        ("rate, accesses/s", "rate_per_s"),
        ("busiest minute / mean", "peak_to_mean_60s"),
        ("inter-arrival CV", "interarrival_cv"),
        ("Fano factor, 1 s", "fano_1s"),
    ):
        rows.append((label, *(number(getattr(s, attribute)) for s in summaries)))
    for label, attribute in (
        ("writes", "writes"),
        ("objects accessed once", "one_hit"),
        ("what followed the last time", "known_pair"),
    ):
        rows.append((label, *(share(getattr(s, attribute)) for s in summaries)))
    for delta in dict.fromkeys(delta for s in summaries for delta in s.deltas):
        rows.append((f"id difference {int(delta):,}", *(share(s.deltas.get(delta)) for s in summaries)))
    for size in dict.fromkeys(size for s in summaries for size in s.lru_hit_ratio):
        rows.append((f"LRU hit ratio at {size} of objects", *(share(s.lru_hit_ratio.get(size)) for s in summaries)))
    for label, attribute in (("reuse distance", "reuse_distance"), ("size, bytes", "size_bytes")):
        for quantile in ("mean", "p50", "p90", "p99", "max"):
            rows.append((f"{label} {quantile}", *(_of(getattr(s, attribute), quantile) for s in summaries)))
    for tenant in dict.fromkeys(tenant for s in summaries for tenant in s.tenants):
        cells = [s.tenants.get(tenant) for s in summaries]
        for label, attribute in (
            ("accesses", "accesses"),
            ("next id", "next_id"),
            ("what followed the last time", "known_pair"),
        ):
            values = (share(getattr(cell, attribute)) if cell else "-" for cell in cells)
            rows.append((f"tenant {tenant}, {label}", *values))
    return rows


_BACKINGS = {"all": "every id", "seen": "ids seen before"}


def _of(quantiles: dict[str, float], name: str) -> str:
    return f"{quantiles[name]:,.0f}" if quantiles else "-"


def _expected(config: Any) -> float:
    return config.expected_accesses


PREFETCH = TraceDomain(
    items="accesses",
    bundled=BUNDLED,
    bundled_path=BUNDLED_PATH,
    fetched=False,
    read=_read,
    write=write_access_trace,
    describe=describe,
    compare=compare_traces,
    rows=_rows,
    generators={"phases": Generator(AccessConfig, generate_accesses, _expected)},
    facts=lambda trace: {"distinct_objects": trace.distinct_objects},
)
