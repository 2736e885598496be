"""A trace of rigid parallel jobs after Lublin and Feitelson (JPDC 63(11), 2003), drawn from a config and a seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from .job_trace import JobTrace
from .lublin_config import LublinConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HALF_HOURS = 48
_HALF_HOUR_S = 1_800.0
_FIRST_HALF_HOUR = 11  # where the day of the published gamma begins: 5:30
_STREAMS = ("sizes", "runs", "arrivals")


def generate(config: LublinConfig, seed: int, name: str = "lublin") -> JobTrace:
    """Draw a trace; times are whole seconds from midnight on (``start_hour`` shifts the clock), runs 1 s at least.

    Raises:
        TraceError: ``seed`` is negative.
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    spawned = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    rng = {stream: np.random.default_rng(s) for stream, s in zip(_STREAMS, spawned, strict=True)}
    processors = _sizes(config, rng["sizes"])
    n = config.jobs
    return JobTrace(
        arrival_s=np.floor(_arrivals(config, rng["arrivals"])),
        run_s=_runs(config, processors, rng["runs"]),
        estimate_s=np.full(n, np.nan),
        tasks=processors,
        gpu_milli=np.zeros(n, np.int64),
        cpu_milli=np.full(n, 1000, np.int64),
        memory_mib=np.zeros(n, np.int64),
        processors=config.processors,
        name=name,
        notes={"format": "generated", "rows": n, "origin_s": 0.0},
    )


def day_weights(config: LublinConfig) -> Floats:
    """Intensity of each half hour of the day from midnight on, of mean 1, shape (48,)."""
    places = np.arange(_FIRST_HALF_HOUR, _FIRST_HALF_HOUR + HALF_HOURS)
    edges = np.concatenate((places - 0.5, [places[-1] + 0.5]))
    weights = np.empty(HALF_HOURS)
    weights[(places - 1) % HALF_HOURS] = np.diff(gamma_cdf(edges / config.day_scale, config.day_shape))
    return weights / weights.mean()


def gamma_cdf(x: Floats, shape: float) -> Floats:
    """Distribution function of a gamma of scale 1 (the regularised lower incomplete gamma function), by its series."""
    term = np.full(np.shape(x), 1.0 / shape)
    total = term.copy()
    for k in range(1, 2_000):
        term = term * x / (shape + k)
        total += term
        if (term <= 1e-16 * total).all():
            break
    with np.errstate(divide="ignore"):
        return np.minimum(total * np.exp(shape * np.log(x) - x - math.lgamma(shape)), 1.0)


def _sizes(config: LublinConfig, rng: np.random.Generator) -> Ints:
    n = config.jobs
    sort = rng.random(n)
    low = rng.random(n) < config.size_low_share
    begin = np.where(low, config.size_log2_low, config.size_log2_medium)
    end = np.where(low, config.size_log2_medium, config.size_log2_high)
    log2_size = begin + rng.random(n) * (end - begin)
    power_of_two = sort < config.serial_share + config.power_of_two_share
    log2_size = np.where(power_of_two, np.floor(log2_size + 0.5), log2_size)
    size = np.minimum(np.floor(2.0**log2_size + 0.5), config.processors)
    return np.where(sort < config.serial_share, 1, size).astype(np.int64)


def _runs(config: LublinConfig, processors: Ints, rng: np.random.Generator) -> Floats:
    first_share = np.clip(config.run_mix_slope * processors + config.run_mix_base, 0.0, 1.0)
    log_run = np.full(len(processors), np.inf)
    while (again := np.flatnonzero(log_run > config.run_log_max)).size:
        first = rng.random(again.size) < first_share[again]
        log_run[again] = np.where(
            first,
            rng.gamma(config.run_shape_1, config.run_scale_1, again.size),
            rng.gamma(config.run_shape_2, config.run_scale_2, again.size),
        )
    return np.maximum(np.floor(np.exp(log_run)), 1.0)


def _arrivals(config: LublinConfig, rng: np.random.Generator) -> Floats:
    """Arrival times in seconds: gaps in units of the day's mean intensity, stretched where the day is quiet."""
    shape = config.gap_shape * config.gap_all_day_factor
    log_gap = np.full(config.jobs, np.inf)
    while (again := np.flatnonzero(log_gap > config.gap_log_max)).size:
        log_gap[again] = rng.gamma(shape, config.gap_scale, again.size)
    weights = day_weights(config)
    begun = config.start_hour * 3600.0 / _HALF_HOUR_S
    by_half_hour = np.concatenate(([0.0], np.cumsum(weights)))
    at_start = float(np.interp(begun, np.arange(HALF_HOURS + 1), by_half_hour))
    spent = at_start + np.cumsum(np.exp(log_gap)) / _HALF_HOUR_S
    days, rest = np.divmod(spent, HALF_HOURS)
    return (days * HALF_HOURS + np.interp(rest, by_half_hour, np.arange(HALF_HOURS + 1)) - begun) * _HALF_HOUR_S
