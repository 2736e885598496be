"""Intervals of many cells that hold at once: the largest studentised deviation over all cells (max-t)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .interval import Interval
from .student import student_t_quantile

FEW_REPLICATES = 8
"""Below so many replicates a resample too often repeats one of them for its spread to mean anything."""

CONFIDENCE, RESAMPLES = 0.95, 4000


def max_t_intervals(
    log_ratios: Sequence[ArrayLike],
    groups: Sequence[Hashable],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Geometric mean ratio of each cell, with intervals that hold for all cells together.

    Where every cell has ``FEW_REPLICATES`` or more the critical value is the quantile of the largest |t| over a
    bootstrap of replicates, cells of one group resampled alike. Where some have fewer it is that of independent Student
    t statistics (Šidák), which holds for normal log ratios and is on the safe side where cells depend on one another.

    Args:
        log_ratios: For each cell its finite log ratios, shape (replicates,).
        groups: What each cell shares its replicates with.
        confidence: Coverage of all intervals together.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        One interval a cell, in order; without ends for a cell of one replicate.

    Raises:
        ValueError: A cell has no replicates, or a log ratio is not finite.
    """
    cells = [np.asarray(values, dtype=np.float64) for values in log_ratios]
    if any(cell.ndim != 1 or len(cell) == 0 or not np.isfinite(cell).all() for cell in cells):
        raise ValueError("each cell needs finite log ratios, one a replicate")
    several = [k for k, cell in enumerate(cells) if len(cell) > 1]
    if several and min(len(cells[k]) for k in several) >= FEW_REPLICATES:
        critical = _bootstrap_critical(
            [cells[k] for k in several], [groups[k] for k in several], confidence, resamples, seed
        )
        widths = dict.fromkeys(several, critical)
    else:
        each = confidence ** (1.0 / max(len(several), 1))
        widths = {k: student_t_quantile(0.5 + each / 2.0, len(cells[k]) - 1) for k in several}
    out = []
    for k, cell in enumerate(cells):
        mean, n = float(cell.mean()), len(cell)
        if k not in widths:
            out.append(Interval(float(np.exp(mean)), None, None, confidence, n))
            continue
        half = widths[k] * float(np.std(cell, ddof=1)) / np.sqrt(n)
        out.append(Interval(float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half)), confidence, n))
    return out


def _bootstrap_critical(
    cells: Sequence[NDArray[np.float64]], groups: Sequence[Hashable], confidence: float, resamples: int, seed: int
) -> float:
    order = list(dict.fromkeys((group, len(cell)) for group, cell in zip(groups, cells, strict=True)))
    rngs = dict(zip(order, map(np.random.default_rng, np.random.SeedSequence(seed).spawn(len(order))), strict=True))
    rows = {key: rng.integers(0, key[1], size=(resamples, key[1])) for key, rng in rngs.items()}
    largest = np.zeros(resamples)
    for group, cell in zip(groups, cells, strict=True):
        drawn = cell[rows[group, len(cell)]]
        error = np.std(drawn, axis=1, ddof=1) / np.sqrt(len(cell))
        t = np.abs(drawn.mean(axis=1) - cell.mean()) / np.where(error > 0, error, np.inf)
        np.maximum(largest, t, out=largest)
    return float(np.quantile(largest, confidence))
