"""Ratios of sums over cells, with intervals over replicates: gain retained and harm avoided."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .interval import Interval
from .replicate_weights import replicate_weights

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


def ratio_of_cell_sums(
    numerators: Sequence[ArrayLike],
    denominators: Sequence[ArrayLike],
    groups: Sequence[Hashable],
    *,
    positive_parts: bool = False,
    confidence: float = CONFIDENCE,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Sum over cells of the mean numerator, over that of the mean denominator.

    Args:
        numerators: For each cell one value a replicate.
        denominators: The same, paired.
        groups: What each cell shares its replicates with.
        positive_parts: Whether a negative mean of a cell counts as 0, above and below.
        confidence: Nominal coverage of the percentile interval.
        resamples: Bootstrap resamples over replicates.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no cells, pairs do not match, or the denominators sum to 0.
    """
    tops = [np.asarray(values, dtype=np.float64) for values in numerators]
    bottoms = [np.asarray(values, dtype=np.float64) for values in denominators]
    if not tops or any(a.shape != b.shape for a, b in zip(tops, bottoms, strict=True)):
        raise ValueError("a ratio of sums needs cells with pairs")
    part: Callable[[Floats], Floats] = (lambda x: np.maximum(x, 0.0)) if positive_parts else (lambda x: x)

    def sums(cells: list[Floats], weights: list[Floats]) -> Floats:
        return np.sum([part(w @ cell) for w, cell in zip(weights, cells, strict=True)], axis=0)

    plain = [np.full((1, len(cell)), 1.0 / len(cell)) for cell in tops]
    bottom = float(sums(bottoms, plain)[0])
    if bottom == 0.0:
        raise ValueError("the denominators sum to 0")
    fewest = min(len(cell) for cell in tops)
    estimate = float(sums(tops, plain)[0]) / bottom
    if fewest < 2:
        return Interval(estimate, None, None, confidence, fewest)
    weights = replicate_weights(groups, [len(cell) for cell in tops], resamples, seed)
    above, below = sums(tops, weights), sums(bottoms, weights)
    known = below != 0.0
    low, high = np.quantile(above[known] / below[known], [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(estimate, float(low), float(high), confidence, fewest)
