"""What is kept of a run: measured items' latencies, who decided when, counts and sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.cluster import metrics as cluster_metrics
from ...envs.common.tails import quantiles
from ...envs.llm_serving import metrics as llm_metrics
from ...envs.prefetch.metrics import relative_access
from ..scenario import Prepared

Floats = NDArray[np.float64]

GAP_POINTS = 10_000
"""Equally weighted points that stand for the token gaps of a run: ten of them above p99.9."""

WAIT_QUANTILES = (0.5, 0.99)
BACKLOG_POINTS = 90
"""Moments at which the backlog is counted."""

MISS = 1
"""Outcome code of an access that was found neither in the cache nor under way."""


@dataclass(frozen=True, slots=True)
class DomainMeasures:
    """How a domain's results are read.

    Attributes:
        tails: Latency-like columns by name, one value an item of the results, +inf where lost.
        wait_s: Time that an item waited for service.
        wait_limit_s: The service-level objective on that.
        attained: Which items attain the objective.
        headline: Tail that leads tables and figures.
        gains: Metrics (tail and ``mean`` or ``p99``) by which a policy is better or worse than the fallback.
    """

    tails: Callable[[Any], dict[str, Floats]]
    wait_s: Callable[[Any], Floats]
    wait_limit_s: Callable[[Any, Any], float]
    attained: Callable[[Any, Any], NDArray[np.bool_]]
    headline: str
    gains: tuple[tuple[str, str], ...]


def _beyond_a_miss(results: Any) -> Floats:
    return np.maximum(results.access_s - results.config.unloaded_miss_s, 0.0)


MEASURES: dict[str, DomainMeasures] = {
    "llm": DomainMeasures(
        lambda r: {"ttft_s": llm_metrics.ttft_s(r), "tpot_s": llm_metrics.tpot_s(r), "e2e_s": llm_metrics.e2e_s(r)},
        llm_metrics.queueing_s,
        lambda objective, _: objective.slo_ttft_s,
        llm_metrics.attained,
        "ttft_s",
        (("ttft_s", "p99"), ("e2e_s", "p99")),
    ),
    "cluster": DomainMeasures(
        lambda r: {
            "bounded_slowdown": cluster_metrics.bounded_slowdown(r),
            "wait_s": cluster_metrics.wait_s(r),
            "jct_s": cluster_metrics.jct_s(r),
        },
        cluster_metrics.wait_s,
        lambda objective, _: objective.slo_wait_s,
        cluster_metrics.attained,
        "bounded_slowdown",
        (("bounded_slowdown", "p99"), ("wait_s", "p99"), ("bounded_slowdown", "mean")),
    ),
    "prefetch": DomainMeasures(
        lambda r: {"access_s": r.access_s},
        _beyond_a_miss,
        lambda objective, results: objective.slo_misses * results.config.unloaded_miss_s,
        lambda r, objective: relative_access(r) <= objective.slo_misses,
        "access_s",
        (("access_s", "mean"), ("access_s", "p99")),
    ),
}
TBT = "tbt_s"
"""Pooled token gaps of LLM serving: a tail whose values are not one an item."""


def tail_names(domain: str) -> tuple[str, ...]:
    """All tails that are held to the bar, the headline first."""
    names = {"llm": ("ttft_s", TBT, "tpot_s", "e2e_s"), "cluster": ("bounded_slowdown", "wait_s", "jct_s")}
    return names.get(domain, ("access_s",))


def measure(prepared: Prepared, results: Any, blocks: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Facts (JSON's types) and arrays of a run; items in the order of the replayed trace's rows.

    Args:
        prepared: What was replayed, stress and all.
        results: The simulator's columns.
        blocks: Parts of the replayed time to which items are assigned by their arrival in the trace.
    """
    domain, objective = prepared.domain, prepared.scenario.objective
    how = MEASURES[domain.name]
    n = len(results.arrival_s)
    row = np.asarray(results.row) if domain.name == "prefetch" else np.arange(n)
    order = np.argsort(row, kind="stable")
    kept = order[np.asarray(results.measured)[order]]
    arrays: dict[str, NDArray[Any]] = {"row": row[kept].astype(np.int32)}
    columns = how.tails(results)
    for name, column in columns.items():
        arrays[f"tail.{name}"] = column[kept].astype(np.float32)
    if domain.name == "llm":
        arrays[f"tail.{TBT}"] = _gap_points(results)
    trace_s = np.asarray(prepared.trace.arrival_s)
    span_s = max(float(trace_s[-1] - trace_s[0]), 1e-9)
    block = np.minimum((trace_s - trace_s[0]) / span_s * blocks, blocks - 1).astype(np.uint8)
    arrays["block"] = block[row[kept]]
    arrays["attained"] = how.attained(results, objective)[kept]
    waits = how.wait_s(results)[kept]
    entry = domain.metrics(results, objective)
    facts: dict[str, Any] = {
        "items": n,
        "measured": len(kept),
        "lost": entry["lost"],
        "slo_attainment": entry["slo_attainment"],
        "wait_s": _jsonable(dict(zip(("p50", "p99"), quantiles(waits, WAIT_QUANTILES), strict=True))),
        "wait_limit_s": how.wait_limit_s(objective, results),
        "span_s": span_s,
        "start_s": float(trace_s[0]),
        "tails": {name: entry[name] for name in (*columns, *((TBT,) if domain.name == "llm" else ()))},
        "backlog": _backlog(results),
    }
    arrays["arrival_s"] = trace_s[row[kept]]
    if domain.name == "cluster":
        facts["most_passes"] = most_passes(results, prepared.system)
    if domain.name == "prefetch":
        arrays["missed"] = np.packbits(np.asarray(results.outcome)[order] == MISS)
        facts["timeless"] = prepared.system.demand == "timeless"
    return facts, arrays


def _gap_points(results: Any) -> NDArray[np.float32]:
    gaps, missing = results.token_gaps, llm_metrics.missing_gaps(results)
    total = gaps.count + missing
    if total == 0:
        return np.empty(0, np.float32)
    at = (np.arange(GAP_POINTS) + 0.5) / GAP_POINTS * total
    inside = at <= gaps.count
    points = np.full(GAP_POINTS, np.inf)
    if gaps.count:
        points[inside] = gaps.quantile(np.minimum(at[inside] / gaps.count, 1.0))
    return points.astype(np.float32)


def _backlog(results: Any) -> list[int]:
    """Items in the system at moments equally spaced between the first and last measured arrival."""
    arrival_s, finish_s = np.asarray(results.arrival_s), np.asarray(results.finish_s)
    measured_s = arrival_s[np.asarray(results.measured)]
    at = np.linspace(measured_s.min(), measured_s.max(), BACKLOG_POINTS)
    came = np.searchsorted(np.sort(arrival_s), at, side="right")
    ended = np.sort(np.where(np.isfinite(finish_s), finish_s, np.inf))
    return [int(x) for x in came - np.searchsorted(ended, at, side="right")]


def most_passes(results: Any, system: Any) -> int | None:
    """Most jobs that started past one overdue job though they came later; None where the bound is not proved.

    A job is overdue from its arrival and the wait limit on. Not proved where quotas decide who may start, or where jobs
    take machines more than once.
    """
    limit_s = system.wait_limit_s
    if limit_s is None or system.quotas is not None or int(np.max(results.attempts, initial=0)) > 1:
        return None
    arrival_s, start_s = np.asarray(results.arrival_s), np.asarray(results.start_s)
    due_s = arrival_s + limit_s
    overdue = np.nonzero(np.isfinite(start_s) & (start_s > due_s))[0]
    most = 0
    for job in overdue.tolist():
        later = start_s[job + 1 :]
        most = max(most, int(np.count_nonzero((later > due_s[job]) & (later < start_s[job]))))
    return most


def _jsonable(values: dict[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in values.items()}
