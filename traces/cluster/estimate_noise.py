"""Users' estimates of run times, drawn for traces that have none or perfect ones.

The model of Tsafrir, Etsion and Feitelson, "Modeling User Runtime Estimates", JSSPP 2005 (LNCS 3834), with the figures
of the paper's own implementation: users take round numbers, 20 of which stand for 89 % of the jobs; the largest that is
allowed is the most popular; and no estimate is below its run time, as jobs are killed at their limit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from .job_trace import JobTrace

Floats = NDArray[np.float64]

MINUTE_S, HOUR_S = 60, 3600
HEAD = 20  # popular values
HEAD_SHARE = 0.89  # share of jobs that use one of them
# Popular in all four traces examined; the largest estimate allowed comes before them.
JOINT_S = (
    *(m * MINUTE_S for m in (5, 10, 15, 20, 30)),
    *(h * HOUR_S for h in (1, 2, 3, 4, 5, 6, 8, 10, 12, 18)),
)
# Multiples of these, the coarsest first and from the largest estimate down, fill up to 20 values.
ROUND_S = (
    *(h * HOUR_S for h in (200, 100, 50, 10, 5, 2, 1)),
    *(m * MINUTE_S for m in (20, 10, 5)),
)
# Popularity (1 is the most popular) of the largest value, then of the others from the shortest on, in each of the four
# traces: SDSC SP2, CTC, KTH (4 h limit), SDSC Blue.
POPULARITY = (
    (3, 1, 4, 17, 13, 7, 8, 18, 2, 6, 16, 10, 5, 15, 14, 19, 11, 12, 9, 20),
    (1, 3, 4, 2, 12, 9, 8, 18, 6, 7, 11, 20, 16, 5, 14, 13, 10, 15, 17, 19),
    (1, 4, 10, 14, 20, 2, 3, 7, 12, 6, 19, 5, 18, 16, 9, 17, 15, 13, 8, 11),
    (1, 6, 5, 3, 7, 2, 18, 19, 4, 11, 20, 9, 10, 14, 13, 16, 15, 17, 8, 12),
)
# Number of different values by number of jobs (knots, linear between).
VALUES_BY_JOBS = ((0, 0), (20, 10), (200, 20), (1_000, 35), (10_000, 90), (70_000, 340), (250_000, 565))


def modal_estimates(trace: JobTrace, seed: int, max_estimate_s: float | None = None) -> JobTrace:
    """The trace with ``estimate_s`` drawn anew; what else it holds stays.

    Estimates are dealt out so that each is at least its job's run time, and otherwise without regard to it: where that
    leaves too few long ones, the job takes the next longer value in use. Jobs that never leave get no estimate.

    Args:
        trace: The jobs.
        seed: Seed of the draws.
        max_estimate_s: Longest estimate that the site allows, at least an hour; by default the longest run, rounded up
            (to an hour below 12 h, 6 h below 2 days, else a day).

    Raises:
        TraceError: ``seed`` is negative, or ``max_estimate_s`` below an hour or the longest run.
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    rows = np.flatnonzero(np.isfinite(trace.run_s))
    estimate_s = np.full(len(trace), np.nan)
    if len(rows):
        run_s = trace.run_s[rows]
        longest_s = float(run_s.max())
        allowed_s = _rounded_up(longest_s) if max_estimate_s is None else max_estimate_s
        if not (math.isfinite(allowed_s) and allowed_s >= max(HOUR_S, longest_s)):
            raise TraceError(
                f"max_estimate_s must be at least an hour and the longest run ({longest_s:,.0f} s), got {allowed_s:g}"
            )
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        values_s, shares = estimate_distribution(len(rows), allowed_s, rng)
        estimate_s[rows] = _dealt_out(run_s, values_s, shares, rng)
    return trace.replace(estimate_s=estimate_s, notes={**trace.notes, "estimates": "modal", "estimates_seed": seed})


def estimate_distribution(jobs: int, max_estimate_s: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Values in use (seconds, rising) and the share of jobs that uses each, both of shape (k,)."""
    head_s = popular_values(max_estimate_s)
    # Fewer values than 20 (a short limit) keep the order of popularity.
    order = np.argsort(np.array(POPULARITY[int(rng.integers(len(POPULARITY)))])[: len(head_s)])
    ranks = np.empty(len(head_s), np.int64)
    ranks[order] = np.arange(1, len(head_s) + 1)
    shares = np.asarray(14.0491 * np.exp(-0.177531 * ranks) + 0.462513, np.float64)
    shares[ranks == 1] = 0.0
    shares[ranks == 1] = max(100 * HEAD_SHARE - shares.sum(), shares.max())
    known = np.array(VALUES_BY_JOBS, np.float64)
    count = max(round(float(np.interp(jobs, known[:, 0], known[:, 1]))), 1)
    tail_s = _rare_values(count, max_estimate_s, head_s, rng)
    shares /= shares.sum()
    if not len(tail_s):
        by_time = np.argsort(head_s)
        return head_s[by_time], shares[by_time]
    rare = np.arange(HEAD + 1, HEAD + 1 + len(tail_s), dtype=np.float64) ** -2.267
    rng.shuffle(rare)
    shares = np.concatenate((HEAD_SHARE * shares, (1 - HEAD_SHARE) / rare.sum() * rare), dtype=np.float64)
    values_s = np.concatenate((head_s, tail_s))
    by_time = np.argsort(values_s)
    return values_s[by_time], shares[by_time]


def popular_values(max_estimate_s: float) -> Floats:
    """Up to 20 round values in seconds: the largest allowed first, then the others, rising."""
    chosen = [float(value) for value in JOINT_S if value < max_estimate_s][: HEAD - 1]
    for step_s in ROUND_S:
        multiple_s = math.floor(max_estimate_s / step_s) * step_s
        while multiple_s > 0 and len(chosen) < HEAD - 1:
            if multiple_s < max_estimate_s and multiple_s not in chosen:
                chosen.append(float(multiple_s))
            multiple_s -= step_s
    return np.array([max_estimate_s, *sorted(chosen)])


def _rare_values(count: int, max_estimate_s: float, head_s: Floats, rng: np.random.Generator) -> Floats:
    """The values beyond the popular ones, in whole minutes: the paper's curve, of which the popular ones are a part."""
    if count <= len(head_s):
        return np.zeros(0)
    a = 1 + 12.1039 * count**-0.6026
    relative = np.arange(1, count) / count
    curve_s = max_estimate_s * (a - 1) * relative / (a - relative)
    minutes_s = np.unique(np.maximum(np.round(curve_s / MINUTE_S), 1) * MINUTE_S)
    free_s = minutes_s[~np.isin(minutes_s, head_s) & (minutes_s < max_estimate_s)]
    wanted = count - len(head_s)
    return free_s if len(free_s) <= wanted else np.sort(rng.choice(free_s, wanted, replace=False))


def _dealt_out(run_s: Floats, values_s: Floats, shares: Floats, rng: np.random.Generator) -> Floats:
    """One estimate a job, none below its run time, each value as often as its share says as far as that can be."""
    n = len(run_s)
    # Which value the job at each n-th of the distribution takes: exact counts, no noise of sampling.
    places = (np.arange(n) + 0.5) / n
    stock = values_s[np.minimum(np.searchsorted(np.cumsum(shares), places), len(values_s) - 1)][::-1]
    longest_first = np.lexsort((rng.random(n), -run_s))
    runs = run_s[longest_first]
    stock = np.maximum(stock, values_s[np.searchsorted(values_s, runs)])
    # From the longest job on: any of the values left that is long enough, in a stock that falls.
    reach = np.searchsorted(-stock, -runs, side="right")
    draws = rng.random(n)
    left = stock.tolist()
    for job in range(n):
        chosen = job + int(draws[job] * (max(int(reach[job]), job + 1) - job))
        left[job], left[chosen] = left[chosen], left[job]
    estimate_s = np.empty(n)
    estimate_s[longest_first] = left
    return estimate_s


def _rounded_up(longest_s: float) -> float:
    step_h = 1 if longest_s <= 12 * HOUR_S else 6 if longest_s <= 48 * HOUR_S else 24
    return float(math.ceil(longest_s / (step_h * HOUR_S)) * step_h * HOUR_S)
