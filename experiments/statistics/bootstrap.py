"""Bootstrap over replicates: whole pairs are drawn, never single requests, whose latencies are far from independent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .interval import Interval

CONFIDENCE = 0.95
RESAMPLES = 4000


def bootstrap_ratio_of_sums(
    numerators: Sequence[float],
    denominators: Sequence[float],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """``sum(numerators) / sum(denominators)`` over pairs, with the percentile interval of resampled pairs.

    Raises:
        ValueError: The sequences differ in length, are empty, or the denominators sum to 0.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if top.ndim != 1 or top.shape != bottom.shape or len(top) == 0:
        raise ValueError(f"pairs need two equally long sequences, not shapes {top.shape} and {bottom.shape}")
    if bottom.sum() == 0:
        raise ValueError("the denominators sum to 0")
    estimate = float(top.sum() / bottom.sum())
    if len(top) < 2:
        return Interval(estimate, None, None, confidence, len(top))
    rows = np.random.default_rng(seed).integers(0, len(top), size=(resamples, len(top)))
    sums = bottom[rows].sum(axis=1)
    ratios = top[rows].sum(axis=1)[sums != 0] / sums[sums != 0]
    low, high = np.quantile(ratios, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(estimate, float(low), float(high), confidence, len(top))


def simultaneous_log_ratios(
    ratios: ArrayLike, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Intervals of the geometric mean ratio of several cells that hold at once (max-t bootstrap over replicates).

    Args:
        ratios: Positive ratios, shape (n_cells, n_replicates), a column a replicate that all cells share.
        confidence: Coverage of all intervals together.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        One interval a cell, in order.

    Raises:
        ValueError: The shape is not two-dimensional, there are fewer than 2 replicates, or a ratio is not positive.
    """
    values = np.asarray(ratios, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] < 2:
        raise ValueError(f"ratios need shape (cells, replicates >= 2), not {values.shape}")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("ratios must be finite and positive")
    logs = np.log(values)
    n = logs.shape[1]
    mean, error = logs.mean(axis=1), _standard_error(logs)
    rows = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    largest = np.zeros(resamples)
    for cell in range(logs.shape[0]):
        drawn = logs[cell][rows]
        spread = _standard_error(drawn)
        t = np.abs(drawn.mean(axis=1) - mean[cell]) / np.where(spread > 0, spread, np.inf)
        np.maximum(largest, t, out=largest)
    width = float(np.quantile(largest, confidence))
    low, high = np.exp(mean - width * error), np.exp(mean + width * error)
    return [
        Interval(float(m), float(lo), float(hi), confidence, n)
        for m, lo, hi in zip(np.exp(mean), low, high, strict=True)
    ]


def _standard_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.std(values, axis=-1, ddof=1) / np.sqrt(values.shape[-1])
