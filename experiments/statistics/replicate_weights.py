"""Resampling replicates: cells that share replicates (the same traffic) are drawn together, others apart."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def replicate_weights(
    groups: Sequence[Hashable], replicates: Sequence[int], resamples: int, seed: int = 0
) -> list[Weights]:
    """How often each replicate of each cell is drawn, as shares.

    Args:
        groups: What each cell shares its replicates with; cells of one group are drawn alike.
        replicates: Replicates of each cell.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        For each cell weights of shape (resamples, replicates of the cell), rows summing to 1.

    Raises:
        ValueError: A cell has no replicates, or there is not one group a cell.
    """
    if len(groups) != len(replicates) or any(n < 1 for n in replicates):
        raise ValueError("each cell needs a group and at least one replicate")
    keys = [(group, n) for group, n in zip(groups, replicates, strict=True)]
    order = list(dict.fromkeys(keys))
    streams = dict(zip(order, np.random.SeedSequence(seed).spawn(len(order)), strict=True))
    drawn: dict[tuple[Hashable, int], Weights] = {}
    for key in order:
        n = key[1]
        rows = np.random.default_rng(streams[key]).integers(0, n, size=(resamples, n))
        drawn[key] = np.stack([np.mean(rows == k, axis=1) for k in range(n)], axis=1)
    return [drawn[key] for key in keys]
