"""From a job trace to the parameters of the Philly-like generator: campaigns found, their moments taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.statistics import correlation
from ..errors import TraceError
from .describe import size_class
from .job_trace import JobTrace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CAMPAIGN_GAP_S = 300.0  # a longer pause ends a campaign
SWEEP_JOBS = 10  # campaigns of more jobs are told apart: they are few, but have most of the jobs
LEAST_TENANT_JOBS = 100
LEAST_CAMPAIGNS = 12  # a class of size with fewer is merged with the tenant's other rare ones
ROBOT_CV = 0.9  # campaigns more regular than this come from programs, which do not follow the hours of the day
_DAY_S = 86_400.0


def calibrate(trace: JobTrace, *, skip_s: float = 0.0, clock_s: float = 0.0) -> dict[str, Any]:
    """``hour_weights``, ``weekday_weights`` and ``tenants`` for ``PhillyLikeConfig``, as JSON would hold them.

    A campaign is a run of jobs of one tenant and size with at most 300 s between two of them. Each tenant's campaigns
    are sorted into kinds, by class of size and by whether they are sweeps (more than 10 jobs); of each kind the rate,
    the regularity, the moments of jobs and gaps, a mixture of lognormals of run times (weighted by jobs) and the spread
    within campaigns are taken. Tenants with fewer than 100 jobs are left out, and names are not kept.

    Args:
        trace: Jobs with GPUs and tenants.
        skip_s: Start of the trace that is left out (a recording may begin with few jobs, those that ran on).
        clock_s: Seconds from a Monday 0:00 to the trace's time 0.

    Raises:
        TraceError: The trace has no tenants, or none with 100 jobs.
    """
    trace = trace.window(skip_s, np.inf)
    clock_s += skip_s
    if trace.tenant is None or len(trace) < LEAST_TENANT_JOBS:
        raise TraceError(f"{trace.name}: calibration needs tenants, and at least {LEAST_TENANT_JOBS} jobs")
    span_d = float(trace.arrival_s[-1]) / _DAY_S
    counts = np.bincount(trace.tenant, minlength=len(trace.tenant_names))
    tenants = []
    cycle_starts: list[Floats] = []
    for code in np.argsort(-counts, kind="stable").tolist():
        if counts[code] < LEAST_TENANT_JOBS:
            continue
        kinds = []
        for campaigns in _kinds(trace, np.flatnonzero(trace.tenant == code)):
            kind = _fitted(trace, campaigns, span_d)
            if kind["follows_cycle"]:
                cycle_starts.append(trace.arrival_s[[rows[0] for rows in campaigns]])
            kinds.append(kind)
        tenants.append({"name": f"vc-{len(tenants) + 1}", "kinds": kinds})
    if not tenants:
        raise TraceError(f"{trace.name}: no tenant has {LEAST_TENANT_JOBS} jobs, too few to calibrate by")
    hours, days = _cycle(np.concatenate(cycle_starts or [trace.arrival_s]) + clock_s)
    return {"hour_weights": hours, "weekday_weights": days, "tenants": tenants}


def _kinds(trace: JobTrace, rows: Ints) -> Iterable[list[Ints]]:
    """A tenant's campaigns (each the rows of its jobs), sorted into kinds."""
    sorted_in: dict[tuple[str, bool], list[Ints]] = {}
    for size in np.unique(trace.size[rows]).tolist():
        of_size = rows[trace.size[rows] == size]
        cuts = np.flatnonzero(np.diff(trace.arrival_s[of_size]) > CAMPAIGN_GAP_S) + 1
        for campaign in np.split(of_size, cuts):
            sorted_in.setdefault((size_class(size), len(campaign) > SWEEP_JOBS), []).append(campaign)
    for sweeps in (False, True):
        rare: list[Ints] = []
        for (_, is_sweep), campaigns in sorted_in.items():
            if is_sweep != sweeps:
                continue
            if len(campaigns) < LEAST_CAMPAIGNS:
                rare += campaigns
            else:
                yield campaigns
        if rare:
            yield rare


def _fitted(trace: JobTrace, campaigns: list[Ints], span_d: float) -> dict[str, Any]:
    jobs = np.array([len(rows) for rows in campaigns])
    least = SWEEP_JOBS + 1 if jobs.min() > SWEEP_JOBS else 1
    log_jobs = np.log(jobs - least + 0.5)
    starts_s = np.sort(trace.arrival_s[[rows[0] for rows in campaigns]])
    between_s = np.diff(starts_s)
    cv = float(between_s.std() / between_s.mean()) if len(between_s) > 1 and between_s.mean() > 0 else 1.0
    within_s = np.concatenate([np.diff(trace.arrival_s[rows]) for rows in campaigns])
    log_gaps = np.log(within_s + 0.5) if len(within_s) else np.zeros(1)
    log_runs = [np.log(trace.run_s[rows]) for rows in campaigns]
    templates = np.array([values.mean() for values in log_runs])
    several = [values for values in log_runs if len(values) > 1]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    freedom = sum(len(values) - 1 for values in several)
    sizes, size_counts = np.unique(trace.size[[rows[0] for rows in campaigns]], return_counts=True)
    return {
        "campaigns_per_day": _figures(len(campaigns) / span_d),
        "arrival_cv": _figures(min(max(cv, 0.2), 5.0)),
        "follows_cycle": cv >= ROBOT_CV,
        "min_jobs": least,
        "max_jobs": int(jobs.max()),
        "jobs_log_mean": _figures(float(log_jobs.mean())),
        "jobs_log_sigma": _figures(float(log_jobs.std())),
        "gap_median_s": _figures(float(np.exp(log_gaps.mean()))),
        "gap_log_sigma": _figures(float(log_gaps.std())),
        "gpus": [[int(s), _figures(c / len(campaigns))] for s, c in zip(sizes.tolist(), size_counts, strict=True)],
        "runs": [
            {"share": _figures(share), "median_s": _figures(float(np.exp(mean))), "log_sigma": _figures(sigma)}
            for share, mean, sigma in lognormal_mixture(templates, jobs.astype(np.float64))
        ],
        "repeat_share": _figures(_repeats(templates, [rows[0] for rows in campaigns])),
        "jitter_log_sigma": _figures(float(np.sqrt(squares / freedom)) if freedom else 0.0),
    }


def _repeats(templates: Floats, first_rows: list[Ints]) -> float:
    """Correlation of one campaign's typical run with that of the one before, at least 0."""
    in_time = templates[np.argsort(first_rows, kind="stable")]
    return min(max(correlation(in_time[:-1], in_time[1:]) or 0.0, 0.0), 0.95)


def lognormal_mixture(logs: Floats, weights: Floats) -> list[tuple[float, float, float]]:
    """Share, mean and standard deviation of the normals that make up ``logs``, by expectation-maximisation.

    One component for fewer than 12 values, two for fewer than 60, else three; they start at quantiles of the values,
    so the result is the same every time.
    """
    count = 1 if len(logs) < LEAST_CAMPAIGNS else 2 if len(logs) < 60 else 3
    order = np.argsort(logs, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    starts = np.searchsorted(reached, (np.arange(count) + 0.5) / count)
    means = logs[order][starts].astype(np.float64)
    sigmas = np.full(count, max(float(logs.std()), 0.1))
    shares = np.full(count, 1 / count)
    for _ in range(300):
        scaled = (logs[:, None] - means) / sigmas
        likely = np.log(np.maximum(shares, 1e-12)) - np.log(sigmas) - 0.5 * scaled**2
        belongs = np.exp(likely - likely.max(axis=1, keepdims=True))
        belongs *= (weights / belongs.sum(axis=1))[:, None]
        mass = np.maximum(belongs.sum(axis=0), 1e-9)
        means = belongs.T @ logs / mass
        spread = np.array([(belongs[:, k] * (logs - means[k]) ** 2).sum() / mass[k] for k in range(count)])
        sigmas = np.maximum(np.sqrt(spread), 0.05)
        shares = mass / mass.sum()
    return [(float(s), float(m), float(d)) for s, m, d in zip(shares, means, sigmas, strict=True)]


def _cycle(at_s: Floats) -> tuple[list[float], list[float]]:
    """Weights of the hours of the day (smoothed over three hours) and of the days of the week, of mean 1."""
    hours = np.bincount((at_s // 3600 % 24).astype(np.int64), minlength=24).astype(np.float64)
    smooth = (np.roll(hours, 1) + hours + np.roll(hours, -1)) / 3
    days = np.bincount((at_s // _DAY_S % 7).astype(np.int64), minlength=7).astype(np.float64)
    # Days that the trace touches oftener than others must not look busier.
    touched = np.bincount(np.arange(at_s.min() // _DAY_S, at_s.max() // _DAY_S + 1).astype(np.int64) % 7, minlength=7)
    days /= np.maximum(touched, 1)
    return [_figures(x) for x in smooth / smooth.mean()], [_figures(x) for x in days / days.mean()]


def _figures(value: float) -> float:
    """Four figures: more would pretend."""
    return float(f"{value:.4g}")
