"""Metrics of a cache replay, as functions of its result columns. ``docs/metrics.md`` defines each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..common.tails import summarize
from .fetch import DEMAND, KINDS, PREFETCH
from .ledger import PrefetchCounts
from .pollution import fetched_alone_bytes, polluted_misses, shadow_hits
from .results import FIRST_USE, HIT, LATE, MERGED, MISS, PrefetchResults


class Objective(BaseModel):
    """When an access attains the objective."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slo_misses: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="longest access latency, in unloaded misses"
    )


def relative_access(results: PrefetchResults) -> NDArray[np.float64]:
    """Access latency over an unloaded miss, shape (n,)."""
    return results.access_s / results.config.unloaded_miss_s


def accuracy(counts: PrefetchCounts) -> float | None:
    """Share of the prefetches that are settled by use or eviction which were used; None where there are none."""
    used = counts.useful + counts.late
    return used / (used + counts.useless) if used + counts.useless else None


def timeliness(counts: PrefetchCounts) -> float | None:
    """Share of the used prefetches that came in time; None where there are none."""
    used = counts.useful + counts.late
    return counts.useful / used if used else None


def coverage(outcome: NDArray[np.int8]) -> float | None:
    """Share of the accesses that would have missed without prefetches, which a prefetch served (late ones too)."""
    served = int(np.count_nonzero((outcome == FIRST_USE) | (outcome == LATE)))
    missed = int(np.count_nonzero(outcome == MISS))
    return served / (served + missed) if served + missed else None


def hit_ratio(outcome: NDArray[np.int8]) -> float:
    """Share of the accesses that were served from the cache."""
    return float(np.mean((outcome == HIT) | (outcome == FIRST_USE)))


def compute_metrics(results: PrefetchResults, objective: Objective | None = None) -> dict[str, Any]:
    """All metrics of one replay, in JSON's types: latencies over its measured accesses, accounts over all of it.

    Raises:
        ValueError: No access is measured.
    """
    measured = results.measured
    n_measured = int(np.count_nonzero(measured))
    if n_measured == 0:
        raise ValueError("no access is measured")
    outcome, access_s = results.outcome[measured], results.access_s[measured]
    slo_misses = (objective or Objective()).slo_misses
    counts = results.prefetches
    would_hit = shadow_hits(results)
    polluted = polluted_misses(results, would_hit)[measured]
    misses = int(np.count_nonzero(outcome == MISS))
    moved = dict(zip(KINDS, results.fetch_bytes, strict=True))
    fetched_bytes = results.fetch_bytes[DEMAND] + results.fetch_bytes[PREFETCH]
    alone_bytes = fetched_alone_bytes(results, would_hit)
    return {
        "accesses": len(measured),
        "measured_accesses": n_measured,
        "lost": {"unfinished": int(np.count_nonzero(np.isinf(access_s)))},
        "access_s": summarize(access_s),
        "slo_attainment": float(np.mean(relative_access(results)[measured] <= slo_misses)),
        "misses": misses,
        "delayed_hits": int(np.count_nonzero((outcome == LATE) | (outcome == MERGED))),
        "hit_ratio": hit_ratio(outcome),
        "prefetches": counts.issued,
        "prefetches_by_end": counts._asdict(),
        "prefetches_by_arm": {arm: issued for arm, issued in results.issued_by_arm.items() if issued},
        "coverage": coverage(outcome),
        "accuracy": accuracy(counts),
        "timeliness": timeliness(counts),
        "pollution": {
            "misses": int(np.count_nonzero(polluted)),
            "share_of_misses": float(np.count_nonzero(polluted)) / misses if misses else 0.0,
        },
        "bytes": {
            **moved,
            "total": sum(results.fetch_bytes),
            "fetched_over_alone": fetched_bytes / alone_bytes if alone_bytes else None,
        },
        "middle_bytes": None if results.near_bytes is None else dict(zip(KINDS, results.near_bytes, strict=True)),
        "utilisation": sum(results.work_s) / results.end_s if results.end_s > 0 else 0.0,
        "queueing_delay_s": {
            kind: waited / n if n else None
            for kind, waited, n in zip(KINDS, results.waited_s, results.fetches, strict=True)
        },
        "tenants": tenants(results),
    }


def tenants(results: PrefetchResults) -> dict[str, Any]:
    """Latencies and shares of each tenant that has measured accesses, by name."""
    found: dict[str, Any] = {}
    for code, counts in enumerate(results.prefetches_by_tenant):
        rows = results.measured & (results.tenant == code)
        if not rows.any():
            continue
        name = results.tenant_names[code] if code < len(results.tenant_names) else "all"
        outcome = results.outcome[rows]
        found[name] = {
            "accesses": int(np.count_nonzero(rows)),
            "access_s": summarize(results.access_s[rows]),
            "hit_ratio": hit_ratio(outcome),
            "coverage": coverage(outcome),
            "accuracy": accuracy(counts),
            "prefetches": counts.issued,
        }
    return found
