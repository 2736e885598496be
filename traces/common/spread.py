"""Undoing coarse clocks: stamps in whole seconds or in batches are spread over the time that they stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def spread_ties(stamp_s: Floats, width_s: float | Floats, rng: np.random.Generator) -> Floats:
    """Arrival times drawn uniformly from ``[stamp, stamp + width)``, in order.

    Args:
        stamp_s: Non-decreasing stamps in seconds, shape (n,).
        width_s: Seconds that a stamp stands for, one number or shape (n,); equal for equal stamps.
        rng: Source of the draws, one a row.

    Rows of one stamp keep their order in the file.
    """
    draws = _sorted_within(stamp_s, rng.random(len(stamp_s)))
    return np.maximum.accumulate(stamp_s + draws * width_s)


def _sorted_within(stamp_s: Floats, draws: Floats) -> Floats:
    """Draws from [0, 1) sorted among those of equal stamps."""
    group = np.concatenate((np.zeros(1), np.cumsum(np.diff(stamp_s) != 0)))[: len(stamp_s)]
    # One sort by the sum is several times as fast as two by group and draw, but rounds: then the slow way is taken.
    order = np.argsort(group + draws)
    ordered = draws[order]
    same = np.diff(group) == 0
    if (group[order] != group).any() or (np.diff(ordered)[same] < 0).any():
        return draws[np.lexsort((draws, group))]
    return ordered


def batch_width_s(stamp_s: Floats, default_s: float) -> float:
    """Period of a batched clock in seconds, 0 where the stamps are not batched.

    Stamps count as batched where the median distance of different stamps is at least 1 s and four of five distances lie
    within 1 % of a whole multiple of it. A file with one stamp only tells nothing: ``default_s`` then.
    """
    distances = np.diff(np.unique(stamp_s))
    if len(distances) == 0:
        return default_s
    period = float(np.median(distances))
    if period < 1.0:
        return 0.0
    multiples = distances / period
    regular = np.abs(multiples - np.round(multiples)) <= 0.01 * np.maximum(np.round(multiples), 1)
    return period if regular.mean() >= 0.8 else 0.0
