"""Student-t intervals over pairs: one pair a replicate, both members on the same arrivals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .interval import Interval
from .student import student_t_quantile

CONFIDENCE = 0.95


def paired_mean_difference(ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean of ``ours - theirs`` over pairs, with its t interval.

    Raises:
        ValueError: The sequences differ in length, are empty or hold what is not finite.
    """
    a, b = _pairs(ours, theirs)
    mean, half = _mean_and_half_width(a - b, confidence)
    return Interval(mean, *_ends(mean, half), confidence, len(a))


def geometric_mean_ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Geometric mean of ``ours / theirs`` over pairs, with the t interval of the log ratios.

    Raises:
        ValueError: The sequences differ in length, are empty, or hold what is not finite and positive.
    """
    a, b = _pairs(ours, theirs)
    if (a <= 0).any() or (b <= 0).any():
        raise ValueError("a ratio needs positive values")
    mean, half = _mean_and_half_width(np.log(a) - np.log(b), confidence)
    low, high = _ends(mean, half)
    if low is None or high is None:
        return Interval(math.exp(mean), None, None, confidence, len(a))
    return Interval(math.exp(mean), math.exp(low), math.exp(high), confidence, len(a))


def _pairs(ours: Sequence[float], theirs: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"pairs need two equally long sequences, not shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("pairs must be finite")
    return a, b


def _mean_and_half_width(values: NDArray[np.float64], confidence: float) -> tuple[float, float | None]:
    n = len(values)
    if n < 2:
        return float(values[0]), None
    t = student_t_quantile(0.5 + confidence / 2.0, n - 1)
    return float(np.mean(values)), t * float(np.std(values, ddof=1)) / math.sqrt(n)


def _ends(mean: float, half: float | None) -> tuple[float | None, float | None]:
    return (None, None) if half is None else (mean - half, mean + half)
