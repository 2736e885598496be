"""What a job trace looks like in numbers, and how far two of them are apart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.statistics import (
    ColumnDistance,
    correlation,
    distance,
    fano_factor,
    interarrival_cv,
    peak_to_mean,
    quantiles,
    ranks,
)
from .job_trace import JobTrace

_DAY_S, _HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True)
class Share:
    """What part of the jobs, and of all size x run time, a group has."""

    jobs: float
    area: float


@dataclass(frozen=True)
class EstimateSummary:
    """How good users' estimates are, over the jobs that have one.

    Attributes:
        known: Share of jobs with an estimate.
        accuracy_mean: Mean of run time over estimate, at most 1 a job.
        accuracy_p50: Median of the same.
        exact: Share of estimates that equal the run time.
        below: Share of estimates below the run time.
        popular: Share of estimates that have one of the 20 most frequent values.
    """

    known: float
    accuracy_mean: float
    accuracy_p50: float
    exact: float
    below: float
    popular: float


@dataclass(frozen=True)
class JobSummary:
    """One trace in numbers; ``None`` where a trace is too short for a number to mean anything.

    Attributes:
        jobs: Number of jobs.
        endless: Jobs that never leave among them; they are left out of all that follows about run times.
        duration_s: Seconds from the first arrival to the last.
        rate_per_h: Jobs an hour, jobs over duration.
        mean_size_in_use: GPUs (processors where a job asks for no GPU) that the jobs would hold on average if none
            waited: sum of size x run time over duration.
        machine_processors: Processors that the file's header names.
        offered_load: ``mean_size_in_use`` over ``machine_processors``.
        run_s: Mean, quantiles (linear) and maximum.
        size: Likewise, of size.
        sizes: Shares by class of size: below 1, 1, 2, 3-4, 5-8 and so on.
        tenants: Shares by tenant, empty where the trace knows none.
        top_percent_area: Part of all size x run time that the largest 1 % of jobs by it have.
        size_run_spearman: Rank correlation of size and run time.
        run_like_previous: Correlation of the logarithms of run times of two jobs in a row of one tenant and size.
        interarrival_cv: Standard deviation over mean of the gaps between arrivals.
        fano_1h: Variance over mean of the counts in whole hours from the first arrival (Poisson: 1).
        peak_to_mean_1h: Busiest whole hour over the mean of the whole hours.
        peak_to_mean_1d: Busiest whole day over the mean of the whole days.
        daily_cycle: Busiest hour of the day, over all days, over the mean hour.
        estimates: How good users' estimates are, ``None`` where there are none.
        content_hash: SHA-256 of the columns.
    """

    jobs: int
    endless: int
    duration_s: float
    rate_per_h: float | None
    mean_size_in_use: float | None
    machine_processors: int | None
    offered_load: float | None
    run_s: dict[str, float]
    size: dict[str, float]
    sizes: dict[str, Share]
    tenants: dict[str, Share]
    top_percent_area: float | None
    size_run_spearman: float | None
    run_like_previous: float | None
    interarrival_cv: float | None
    fano_1h: float | None
    peak_to_mean_1h: float | None
    peak_to_mean_1d: float | None
    daily_cycle: float | None
    estimates: EstimateSummary | None
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(trace: JobTrace) -> JobSummary:
    """The summary of a trace."""
    ending = trace.select(np.isfinite(trace.run_s))
    duration_s = trace.duration_s
    in_use = float(ending.area_s.sum()) / duration_s if duration_s > 0 else None
    return JobSummary(
        jobs=len(trace),
        endless=len(trace) - len(ending),
        duration_s=duration_s,
        rate_per_h=len(trace) / duration_s * _HOUR_S if duration_s > 0 else None,
        mean_size_in_use=in_use,
        machine_processors=trace.processors,
        offered_load=in_use / trace.processors if in_use is not None and trace.processors else None,
        run_s=quantiles(ending.run_s),
        size=quantiles(trace.size),
        sizes=_by_class(ending),
        tenants=_by_tenant(ending),
        top_percent_area=_top_percent(ending.area_s),
        size_run_spearman=correlation(ranks(ending.size), ranks(ending.run_s)),
        run_like_previous=_run_like_previous(ending),
        interarrival_cv=interarrival_cv(trace.arrival_s),
        fano_1h=fano_factor(trace.arrival_s, _HOUR_S),
        peak_to_mean_1h=peak_to_mean(trace.arrival_s, _HOUR_S),
        peak_to_mean_1d=peak_to_mean(trace.arrival_s, _DAY_S),
        daily_cycle=_daily_cycle(trace.arrival_s),
        estimates=_estimates(ending),
        content_hash=trace.content_hash,
    )


def compare_traces(a: JobTrace, b: JobTrace) -> dict[str, ColumnDistance]:
    """Distances of run times, sizes, size x run time and inter-arrival times (``interarrival_s``), by column.

    Jobs that never leave are left out of run times; traces with fewer than two jobs have no inter-arrival times.
    """
    columns = {name: [_ending(getattr(t, name), t) for t in (a, b)] for name in ("run_s", "size", "area_s")}
    columns["interarrival_s"] = [np.diff(t.arrival_s) for t in (a, b)]
    return {name: distance(x, y) for name, (x, y) in columns.items() if len(x) and len(y)}


def size_class(size: float) -> str:
    """Class of size by powers of two: ``<1``, ``1``, ``2``, ``3-4``, ``5-8``, ...; fractions count as the next."""
    if size < 1:
        return "<1"
    high = 1 << math.ceil(math.log2(size))
    return str(high) if high <= 2 else f"{high // 2 + 1}-{high}"


def _ending(values: NDArray[np.float64], trace: JobTrace) -> NDArray[np.float64]:
    return values[np.isfinite(trace.run_s)]


def _by_class(trace: JobTrace) -> dict[str, Share]:
    sizes, codes = np.unique(trace.size, return_inverse=True)
    names = [size_class(size) for size in sizes.tolist()]
    classes = list(dict.fromkeys(names))
    return _shares(np.array([classes.index(name) for name in names], np.int64)[codes], classes, trace.area_s)


def _by_tenant(trace: JobTrace) -> dict[str, Share]:
    return {} if trace.tenant is None else _shares(trace.tenant, trace.tenant_names, trace.area_s)


def _shares(
    codes: NDArray[np.int64], names: list[str] | tuple[str, ...], area_s: NDArray[np.float64]
) -> dict[str, Share]:
    if len(codes) == 0:
        return {}
    jobs = np.bincount(codes, minlength=len(names)) / len(codes)
    area = np.bincount(codes, weights=area_s, minlength=len(names)) / area_s.sum()
    return {name: Share(float(j), float(s)) for name, j, s in zip(names, jobs, area, strict=True) if j > 0}


def _top_percent(area_s: NDArray[np.float64]) -> float | None:
    count = len(area_s) // 100
    return float(np.sort(area_s)[-count:].sum() / area_s.sum()) if count else None


def _run_like_previous(trace: JobTrace) -> float | None:
    tenant = np.zeros(len(trace), np.int64) if trace.tenant is None else trace.tenant
    order = np.lexsort((np.arange(len(trace)), trace.size, tenant))
    same = (np.diff(tenant[order]) == 0) & (np.diff(trace.size[order]) == 0)
    log_run = np.log(trace.run_s[order])
    return correlation(log_run[:-1][same], log_run[1:][same])


def _daily_cycle(arrival_s: NDArray[np.float64]) -> float | None:
    """Over the whole days from the first arrival, so that each hour of the day counts equally often."""
    if len(arrival_s) == 0:
        return None
    since_s = arrival_s - arrival_s[0]
    whole_days = since_s[-1] // _DAY_S
    if whole_days < 2:
        return None
    inside = since_s[since_s < whole_days * _DAY_S]
    hours = np.bincount((inside % _DAY_S // _HOUR_S).astype(np.int64), minlength=24)
    return float(hours.max() / hours.mean())


def _estimates(trace: JobTrace) -> EstimateSummary | None:
    known = ~np.isnan(trace.estimate_s)
    if not known.any():
        return None
    run_s, estimate_s = trace.run_s[known], trace.estimate_s[known]
    accuracy = np.minimum(run_s / estimate_s, 1.0)
    counts = np.sort(np.unique(estimate_s, return_counts=True)[1])
    return EstimateSummary(
        known=float(known.mean()),
        accuracy_mean=float(accuracy.mean()),
        accuracy_p50=float(np.median(accuracy)),
        exact=float((estimate_s == run_s).mean()),
        below=float((estimate_s < run_s).mean()),
        popular=float(counts[-20:].sum() / known.sum()),
    )
