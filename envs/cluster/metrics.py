"""Metrics of a replay, as pure functions of its result columns; docs/metrics.md defines each from its timestamps.

A lost job (rejected, unfinished, failed or killed) has every latency at +inf, misses its objective and its deadline,
and stays in every denominator. ``results`` below is anything with the columns of
:class:`~handrail.envs.cluster.results.ClusterResults`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..common.tails import Summary, quantiles, summarize
from .results import FAILED, FINISHED, KILLED, REJECTED, UNFINISHED

Floats = NDArray[np.float64]

LOST_REASONS = {REJECTED: "rejected", UNFINISHED: "unfinished", FAILED: "failed", KILLED: "killed"}
"""Names of the ways to be lost, as ``lost`` shows them."""

SHORT_JOB_S = 10.0
"""Run times below count as this in the bounded slowdown (Feitelson et al., JSSPP'97)."""

MIN_TENANT_JOBS = 20
"""Measured jobs that a tenant needs to count in the fairness figures: the p95 of fewer is one job's."""

SIZE_CLASSES = {"gpus": (1.0, 4.0, 8.0), "processors": (1.0, 8.0, 64.0)}
"""Largest sizes of all classes but the last, by the unit of size."""


class Objective(BaseModel):
    """The service-level objective of one job: what it may wait, absolutely and relative to its length.

    Attributes:
        slo_slowdown: Largest bounded slowdown that attains it.
        slo_wait_s: Longest wait that attains it, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slo_slowdown: float = Field(default=10.0, ge=1, allow_inf_nan=False)
    slo_wait_s: float = Field(default=3600.0, ge=0, allow_inf_nan=False)


def lost(results: Any) -> NDArray[np.bool_]:
    """Which jobs did not finish, shape (n,)."""
    return np.asarray(results.status) != FINISHED


def jct_s(results: Any) -> Floats:
    """Job completion time: from arrival to the end in seconds, shape (n,); +inf where the job was lost."""
    return np.where(lost(results), math.inf, results.finish_s - results.arrival_s)


def wait_s(results: Any) -> Floats:
    """Seconds in which the job was in the system without machines, shape (n,); +inf where it was lost."""
    once = np.asarray(results.attempts) <= 1
    # The same for one attempt, without the rounding of the difference.
    waited_s = np.where(
        once, results.start_s - results.arrival_s, results.finish_s - results.arrival_s - results.service_s
    )
    return np.where(lost(results), math.inf, np.maximum(waited_s, 0.0))


def bounded_slowdown(results: Any) -> Floats:
    """``max(1, jct_s / max(run_s, 10))`` of each job, shape (n,); +inf where it was lost."""
    finite_run_s = np.where(lost(results), 1.0, results.run_s)  # what never ends is lost, and inf / inf is nan
    return np.maximum(1.0, jct_s(results) / np.maximum(finite_run_s, SHORT_JOB_S))


def attained(results: Any, objective: Objective) -> NDArray[np.bool_]:
    """Whether each job finished within both limits of the objective, shape (n,)."""
    return (bounded_slowdown(results) <= objective.slo_slowdown) & (wait_s(results) <= objective.slo_wait_s)


def lost_counts(results: Any) -> dict[str, int]:
    """Measured jobs lost, by reason."""
    status = np.asarray(results.status)[np.asarray(results.measured)]
    return {name: int(np.count_nonzero(status == code)) for code, name in LOST_REASONS.items()}


def measured_span_s(results: Any) -> float:
    """Seconds from the first measured arrival to the last end (or arrival) of a measured job; 0 without any."""
    measured = np.asarray(results.measured)
    if not measured.any():
        return 0.0
    arrival_s, finish_s = results.arrival_s[measured], results.finish_s[measured]
    ended_s = finish_s[np.isfinite(finish_s)]
    last_s = max(float(arrival_s.max()), float(ended_s.max()) if ended_s.size else -math.inf)
    return last_s - float(arrival_s.min())


def _arrivals_span(results: Any) -> tuple[float, float]:
    arrival_s = results.arrival_s[np.asarray(results.measured)]
    return float(arrival_s.min()), float(arrival_s.max())


def _integral(times_s: Floats, values: Floats, start_s: float, end_s: float) -> float:
    """Integral over [start_s, end_s] of what is ``values[i]`` from ``times_s[i]`` on, and 0 before the first one."""
    edges = np.clip(np.append(times_s, math.inf), start_s, end_s)
    return float(np.sum(values * np.diff(edges)))


def utilisation(results: Any) -> tuple[float | None, float | None]:
    """Busy share of the capacity that is up, and of the whole cluster, between the first and last measured arrival.

    Returns:
        None where that span is empty; the first also where nothing is up in it.
    """
    start_s, end_s = _arrivals_span(results)
    if end_s <= start_s:
        return None, None
    usage = results.usage
    busy = _integral(usage.times_s, usage.busy_size, start_s, end_s)
    down = _integral(usage.times_s, usage.down_size, start_s, end_s)
    total = results.cluster_size * (end_s - start_s)
    return (busy / (total - down) if total > down else None), busy / total


def mean_fragmentation(results: Any) -> float | None:
    """Mean of the samples between the first and last measured arrival; None where there is none."""
    start_s, end_s = _arrivals_span(results)
    sampled_s = results.usage.sampled_s
    samples = results.usage.fragmentation[(sampled_s >= start_s) & (sampled_s <= end_s)]
    return float(samples.mean()) if len(samples) else None


def fairness(results: Any) -> dict[str, Any]:
    """p95 bounded slowdown of each tenant with enough measured jobs, and how far tenants lie apart.

    Returns:
        ``tenants`` (name to jobs and p95), ``p95_slowdown_spread`` (largest minus smallest) and ``p95_slowdown_ratio``
        (largest over median); the last two None where fewer than two tenants count or one of the values is infinite.
    """
    measured = np.asarray(results.measured)
    slowdown, tenant = bounded_slowdown(results)[measured], results.tenant[measured]
    tenants: dict[str, Any] = {}
    p95s: list[float] = []
    for code, name in enumerate(results.tenant_names):
        values = slowdown[tenant == code]
        if len(values) < MIN_TENANT_JOBS:
            continue
        (p95,) = quantiles(values, [0.95])
        p95s.append(p95)
        tenants[name] = {"jobs": len(values), "p95_slowdown": p95 if math.isfinite(p95) else None}
    apart = len(p95s) >= 2 and math.isfinite(max(p95s))
    return {
        "p95_slowdown_spread": max(p95s) - min(p95s) if apart else None,
        "p95_slowdown_ratio": max(p95s) / float(np.median(p95s)) if apart else None,
        "tenants": tenants,
    }


def wasted_share(results: Any) -> float | None:
    """Share of the measured jobs' GPU-seconds (processor-seconds) that brought nothing; None where they had none.

    Overheads and lost work of jobs that finished or still run, and all that failed and killed jobs had.
    """
    measured, status = np.asarray(results.measured), np.asarray(results.status)
    in_vain_s = np.where((status == FAILED) | (status == KILLED), results.service_s, results.wasted_s)
    service = float(np.sum((results.size * results.service_s)[measured]))
    return float(np.sum((results.size * in_vain_s)[measured])) / service if service > 0 else None


def deadline_misses(results: Any) -> tuple[int, int]:
    """Measured jobs with a deadline that had not finished by then, and measured jobs with a deadline."""
    due = np.asarray(results.measured) & ~np.isnan(results.deadline_s)
    in_time = ~lost(results) & (results.finish_s <= results.deadline_s)
    return int(np.count_nonzero(due & ~in_time)), int(np.count_nonzero(due))


def size_classes(results: Any) -> dict[str, NDArray[np.bool_]]:
    """Measured jobs by class of size (``1``, ``2-4`` ...), each of shape (n,).

    The first class holds fractions of a GPU too, and where size counts GPUs also the jobs that ask for none.
    """
    measured = np.asarray(results.measured)
    uppers = SIZE_CLASSES[results.size_unit]
    which = np.searchsorted(uppers, results.size)
    names = ["1", *(f"{low + 1:g}-{high:g}" for low, high in pairwise(uppers)), f"{uppers[-1] + 1:g}+"]
    return {name: measured & (which == i) for i, name in enumerate(names)}


def by_size(results: Any) -> dict[str, dict[str, float | int | None]]:
    """Count and tails of each class of size; None where a class is empty or a value infinite."""
    slowdown, waited_s = bounded_slowdown(results), wait_s(results)
    out: dict[str, dict[str, float | int | None]] = {}
    for name, rows in size_classes(results).items():
        summary = summarize(slowdown[rows])
        out[name] = {
            "jobs": int(np.count_nonzero(rows)),
            "mean_slowdown": summary["mean"],
            "p95_slowdown": summary["p95"],
            "p99_slowdown": summary["p99"],
            "p99_wait_s": summarize(waited_s[rows])["p99"],
        }
    return out


def compute_metrics(results: Any, objective: Objective | None = None) -> dict[str, Any]:
    """All metrics of one replay over its measured jobs, in JSON's types.

    Args:
        results: The columns.
        objective: What ``slo_attainment`` holds jobs against; the default objective where None.

    Raises:
        ValueError: No job is measured.
    """
    measured = np.asarray(results.measured)
    n_measured = int(np.count_nonzero(measured))
    if n_measured == 0:
        raise ValueError("no job is measured")

    def summary(values: Floats) -> Summary:
        return summarize(values[measured])

    busy_share, allocated = utilisation(results)
    missed, due = deadline_misses(results)
    within = attained(results, objective or Objective())[measured]
    return {
        "jobs": len(measured),
        "measured_jobs": n_measured,
        "measured_span_s": measured_span_s(results),
        "lost": lost_counts(results),
        "bounded_slowdown": summary(bounded_slowdown(results)),
        "wait_s": summary(wait_s(results)),
        "jct_s": summary(jct_s(results)),
        "slo_attainment": int(np.count_nonzero(within)) / n_measured,
        "utilisation": busy_share,
        "gpu_allocated": allocated,
        "fragmentation": mean_fragmentation(results),
        "fairness": fairness(results),
        "wasted_share": wasted_share(results),
        "preemptions": int(np.sum(results.preemptions[measured])),
        "deadlines": due,
        "deadline_misses": missed,
        "by_size": by_size(results),
    }
