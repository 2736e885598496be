"""Tails of pools of cells: each cell's items over a scale of its own, every cell with the same weight.

Items are kept as counts in bins of equal width on a log scale, so that resampling replicates adds counts and touches no
item. A quantile read from them errs by half a bin at most.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from .interval import Interval
from .replicate_weights import replicate_weights

Floats = NDArray[np.float64]

LOWEST, HIGHEST, BIN_WIDTH = 0.02, 2e4, 1e-3
"""Relative values below and above fall in the outermost bins; the highest one also holds what was lost."""

BINS = int(np.ceil(np.log(HIGHEST / LOWEST) / BIN_WIDTH)) + 2
CONFIDENCE = 0.95


def log_counts(values: NDArray[np.floating], scale: float) -> NDArray[np.int32]:
    """Counts of ``values / scale`` in the bins, shape (BINS,); +inf counts in the last one.

    Raises:
        ValueError: The scale is not positive and finite.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"a scale must be positive and finite, not {scale:g}")
    relative = np.maximum(np.asarray(values, dtype=np.float64) / scale, LOWEST * 0.5)
    place = np.floor(np.log(np.minimum(relative, HIGHEST * 2.0) / LOWEST) / BIN_WIDTH) + 1
    return np.bincount(np.clip(place, 0, BINS - 1).astype(np.int64), minlength=BINS).astype(np.int32)


def counted_quantile(counts: Floats, q: float) -> Floats:
    """The relative value at quantile ``q`` of weighted bins, +inf where it falls in the last one.

    Args:
        counts: Shape (..., BINS), non-negative, with a positive sum.
        q: In (0, 1).

    Returns:
        Shape (...).
    """
    upto = np.cumsum(counts, axis=-1)
    wanted = q * upto[..., -1:]
    place = np.argmax(upto >= wanted, axis=-1)
    value = LOWEST * np.exp((place - 0.5) * BIN_WIDTH)
    return np.where(place >= BINS - 1, np.inf, value)


def pooled_ratio(
    ours: Sequence[NDArray[np.int32]],
    theirs: Sequence[NDArray[np.int32]],
    groups: Sequence[Hashable],
    q: float = 0.99,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Quantile of our pool over that of theirs, with the percentile interval of a bootstrap over replicates.

    Args:
        ours: For each cell its counts a replicate, shape (replicates, BINS), on the cell's scale.
        theirs: The same of what we compare with, on the same scales.
        groups: What each cell shares its replicates with.
        q: The quantile.
        confidence: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no cells, or the two do not have the same replicates.
    """
    if not ours or any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        raise ValueError("a pool needs cells whose two sides have the same replicates")
    fewest = min(len(cell) for cell in ours)
    estimate = float(_pool_quantile(ours, None, q)[0] / _pool_quantile(theirs, None, q)[0])
    if fewest < 2:
        return Interval(estimate, None, None, confidence, fewest)
    weights = replicate_weights(groups, [len(cell) for cell in ours], resamples, seed)
    ratios = _pool_quantile(ours, weights, q) / _pool_quantile(theirs, weights, q)
    ratios = np.where(np.isnan(ratios), 1.0, ratios)
    low, high = np.quantile(ratios, [0.5 - confidence / 2, 0.5 + confidence / 2], method="nearest")
    return Interval(estimate, float(low), float(high), confidence, fewest)


def _pool_quantile(cells: Sequence[NDArray[np.int32]], weights: Sequence[Floats] | None, q: float) -> Floats:
    total: Floats = np.zeros((1, BINS))
    for number, cell in enumerate(cells):
        chosen = np.full((1, len(cell)), 1.0 / len(cell)) if weights is None else weights[number]
        pooled = (chosen @ cell.astype(np.float64)).astype(np.float32)
        total = total + pooled / pooled.sum(axis=1, keepdims=True)
    return counted_quantile(total, q)
