"""A Philly-like job trace, drawn from a config and a seed (Jeon et al., USENIX ATC 2019, describe the original).

Work comes in campaigns: a user submits one job, or hundreds of a parameter sweep, of one size and alike in run time.
That is what makes arrivals bursty and run times predictable from what a tenant ran before. Every stream of randomness
has a seed of its own, so that a change to, say, run times leaves the arrivals as they were.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..common.cycle import expected_arrivals
from ..common.renewals import renewals
from ..errors import TraceError
from .job_trace import JobTrace
from .philly_like_config import PhillyLikeConfig, WorkKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HOUR_S = 3_600.0
_LONGEST_LEAD_H = 5 * 365 * 24
_STREAMS = ("campaigns", "jobs", "gaps", "sizes", "runs", "repeats", "jitter")


def generate(config: PhillyLikeConfig, seed: int, name: str = "philly-like") -> JobTrace:
    """Draw a trace; arrival and run times are whole seconds, every job is one task, processors and memory are 0.

    Raises:
        TraceError: ``seed`` is negative, or nothing at all was drawn (too short, too low a rate).
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    kinds = [(code, kind) for code, tenant in enumerate(config.tenants) for kind in tenant.kinds]
    columns: list[tuple[Floats, Floats, Ints, Ints]] = []
    for (code, kind), kind_seed in zip(kinds, np.random.SeedSequence(seed).spawn(len(kinds)), strict=True):
        spawned = kind_seed.spawn(len(_STREAMS))
        rng = {stream: np.random.default_rng(s) for stream, s in zip(_STREAMS, spawned, strict=True)}
        arrival_s, run_s, gpus = _work(config, kind, rng)
        columns.append((arrival_s, run_s, gpus, np.full(len(gpus), code, np.int64)))
    arrival_s, run_s, gpus, tenant = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    inside = np.flatnonzero((arrival_s >= 0) & (arrival_s < config.duration_s))
    order = inside[np.argsort(arrival_s[inside], kind="stable")]
    n = len(order)
    if n == 0:
        raise TraceError("the generator drew no job; raise rate_factor or duration_s")
    return JobTrace(
        arrival_s=arrival_s[order],
        run_s=run_s[order],
        estimate_s=np.full(n, np.nan),
        tasks=np.ones(n, np.int64),
        gpu_milli=gpus[order] * 1000,
        cpu_milli=np.zeros(n, np.int64),
        memory_mib=np.zeros(n, np.int64),
        tenant=tenant[order],
        tenant_names=tuple(tenant.name for tenant in config.tenants),
        name=name,
        notes={"format": "generated", "rows": n, "origin_s": 0.0},
    )


def _work(config: PhillyLikeConfig, kind: WorkKind, rng: dict[str, np.random.Generator]) -> tuple[Floats, Floats, Ints]:
    """Arrival (whole seconds), run time and GPUs of every job of one kind, campaign after campaign."""
    start_s = _campaign_starts(config, kind, rng["campaigns"])
    count = len(start_s)
    drawn = np.ceil(rng["jobs"].lognormal(kind.jobs_log_mean, kind.jobs_log_sigma, count))
    jobs = np.clip(drawn, 1, kind.max_jobs - kind.min_jobs + 1).astype(np.int64) + kind.min_jobs - 1
    campaign = np.repeat(np.arange(count), jobs)
    first = np.cumsum(jobs) - jobs
    gap_s = rng["gaps"].lognormal(math.log(kind.gap_median_s), kind.gap_log_sigma, len(campaign))
    gap_s[first] = 0.0
    since_s = np.cumsum(gap_s)
    arrival_s = start_s[campaign] + since_s - since_s[first][campaign]

    sizes, weights = np.array([size for size, _ in kind.gpus]), np.array([share for _, share in kind.gpus])
    gpus = rng["sizes"].choice(sizes, count, p=weights / weights.sum())[campaign]
    shares = np.array([run.share for run in kind.runs])
    component = rng["runs"].choice(len(shares), count, p=shares / shares.sum())
    log_median = np.log([run.median_s for run in kind.runs])[component]
    log_sigma = np.array([run.log_sigma for run in kind.runs])[component]
    log_run = log_median + log_sigma * rng["runs"].standard_normal(count)
    # Who comes again often runs the same again.
    fresh = rng["repeats"].random(count) >= kind.repeat_share
    log_run = log_run[np.maximum.accumulate(np.where(fresh, np.arange(count), 0))]
    log_run = log_run[campaign] + kind.jitter_log_sigma * rng["jitter"].standard_normal(len(campaign))
    run_s = np.clip(np.rint(np.exp(np.minimum(log_run, 50.0))), config.shortest_run_s, config.longest_run_s)
    return np.floor(arrival_s), run_s, gpus


def _campaign_starts(config: PhillyLikeConfig, kind: WorkKind, rng: np.random.Generator) -> Floats:
    """Starts in order, the first ones before time 0: a Gamma renewal process, its time warped by the cycle."""
    a_day = kind.campaigns_per_day * config.rate_factor
    # A process that starts afresh at time 0 would be too regular there: it begins about ten mean gaps earlier.
    lead_h = min(math.ceil(24 * (10 + rng.random()) / a_day), _LONGEST_LEAD_H)
    if not kind.follows_cycle:
        length_h = lead_h + config.duration_s / _HOUR_S
        return (renewals(length_h, a_day / 24, kind.arrival_cv, rng) - lead_h) * _HOUR_S
    week = np.outer(config.weekday_weights, config.hour_weights).ravel()
    origin_h = config.start_weekday * 24 + config.start_hour
    last_h = math.ceil(origin_h + config.duration_s / _HOUR_S)
    hours, expected = expected_arrivals(a_day / 24 * week / week.mean(), math.floor(origin_h) - lead_h, last_h)
    times = renewals(expected[-1], 1.0, kind.arrival_cv, rng)
    return (np.interp(times, expected, hours) - origin_h) * _HOUR_S
