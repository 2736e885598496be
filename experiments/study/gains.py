"""M2 and M3: what is kept of a policy's gain, what is avoided of its harm, and the null guards beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..statistics import paired_mean_difference, ratio_of_cell_sums
from . import arms
from .cells import ORACLE, STATIC_GATE, Cell
from .config import StudyConfig
from .counted import BROKEN, counted, held, mean
from .measure import MEASURES


def gain_and_harm(cells: Sequence[Cell], config: StudyConfig, domain: str, learned: Sequence[str]) -> dict[str, Any]:
    """M2 and M3 by metric: ratios of sums over cells where the policy alone is better, or worse; nulls beside them.

    The nulls stand over three sets: cells where the policy is better, all cells of the bar that have them, and these
    with the cells where the policy itself breaks, since that is what a gate set on validation cannot see.
    """
    out: dict[str, Any] = {}
    ours = [c for c in held(cells, config) if not c.unguarded.failed]
    breaking = [c for c in cells if c.plan.role == "policy" and c.plan.nulls and not c.unguarded.failed]
    breaking = [c for c in breaking if c.data.load == "loaded" and counted(c, config)]
    for tail, key in MEASURES[domain].gains:
        known = [c for c in ours if _is_finite(c, tail, key)]
        broken = [c for c in breaking if _is_finite(c, tail, key)]
        gains = [c for c in known if c.plan.policy in learned and _better(c, tail, key)]
        honest = [c for c in known if not c.plan.policy.startswith(BROKEN) and _better(c, tail, key)]
        harms = [c for c in known if not _better(c, tail, key)]
        out[f"{tail}.{key}"] = {
            "gain": _kept(gains, tail, key, config),
            "gain_of_all_honest": _kept(honest, tail, key, config),
            "harm": _avoided(harms, tail, key, config),
            "nulls": _nulls(gains, tail, key),
            "nulls_everywhere": _nulls([c for c in known if c.plan.nulls], tail, key),
            "nulls_insured": _nulls([*(c for c in known if c.plan.nulls), *broken], tail, key),
            "cells": [_gain_row(cell, tail, key) for cell in gains],
            "availability": _mean_availability(gains),
        }
    return out


def _is_finite(cell: Cell, tail: str, key: str) -> bool:
    return tail in cell.data.scales and bool(np.isfinite(_values(cell, arms.UNGUARDED, tail, key)).all())


def _values(cell: Cell, arm: str, tail: str, key: str) -> NDArray[np.float64]:
    source = cell.data.fallback if arm == arms.FALLBACK else cell.arms[arm]
    return source.values[tail, key]


def _better(cell: Cell, tail: str, key: str) -> bool:
    return float(np.mean(_values(cell, arms.UNGUARDED, tail, key) - _values(cell, arms.FALLBACK, tail, key))) < 0.0


def _kept(cells: Sequence[Cell], tail: str, key: str, config: StudyConfig) -> dict[str, Any] | None:
    if not cells:
        return None
    base = [_values(c, arms.FALLBACK, tail, key) for c in cells]
    tops = [b - _values(c, arms.GUARDED, tail, key) for b, c in zip(base, cells, strict=True)]
    bottoms = [b - _values(c, arms.UNGUARDED, tail, key) for b, c in zip(base, cells, strict=True)]
    return _ratio(tops, bottoms, cells, config)


def _avoided(cells: Sequence[Cell], tail: str, key: str, config: StudyConfig) -> dict[str, Any] | None:
    if not cells:
        return None
    base = [_values(c, arms.FALLBACK, tail, key) for c in cells]
    tops = [_values(c, arms.GUARDED, tail, key) - b for b, c in zip(base, cells, strict=True)]
    bottoms = [_values(c, arms.UNGUARDED, tail, key) - b for b, c in zip(base, cells, strict=True)]
    if not all(np.isfinite(t).all() for t in tops) or sum(max(float(b.mean()), 0.0) for b in bottoms) == 0.0:
        return None
    left = _ratio(tops, bottoms, cells, config, positive_parts=True)
    ends = [None if left[end] is None else 1.0 - left[end] for end in ("high", "low")]
    return {**left, "estimate": 1.0 - left["estimate"], "low": ends[0], "high": ends[1]}


def _ratio(
    tops: Sequence[NDArray[np.float64]],
    bottoms: Sequence[NDArray[np.float64]],
    cells: Sequence[Cell],
    config: StudyConfig,
    positive_parts: bool = False,
) -> dict[str, Any]:
    interval = ratio_of_cell_sums(
        tops,
        bottoms,
        [cell.group for cell in cells],
        positive_parts=positive_parts,
        resamples=config.resamples,
        seed=config.seed,
    )
    return {**interval.to_json(), "cells": len(cells)}


def _gain_row(cell: Cell, tail: str, key: str) -> dict[str, Any]:
    names = (arms.UNGUARDED, arms.GUARDED, *arms.NULLS, STATIC_GATE, ORACLE, arms.DELAYED)
    return {"cell": cell.plan.name, "availability": mean(cell.guarded.availability)} | {
        name: cell.ratio(name, tail, key) for name in names if name in cell.arms
    }


def _nulls(cells: Sequence[Cell], tail: str, key: str) -> dict[str, Any]:
    """What each null keeps of the gain, and the paired difference over replicates (above 0: the guard wins).

    ``net`` is the mean gain over the cells, harm taken off, in each cell's own fallback tail.
    """
    out: dict[str, Any] = {}
    for name in (arms.SHIFTED, STATIC_GATE, arms.RANDOM_SWITCH, ORACLE, arms.RULE_WITHIN_CHECKS):
        here = [(c, arm) for c in cells if (arm := c.arms.get(name) or c.data.arms.get(name)) is not None]
        here = [(c, arm) for c, arm in here if not arm.failed and np.isfinite(arm.values[tail, key]).all()]
        if not here:
            continue
        base = [_values(c, arms.FALLBACK, tail, key) for c, _ in here]
        alone = [_values(c, arms.UNGUARDED, tail, key) for c, _ in here]
        possible = sum(float((b - a).mean()) for b, a in zip(base, alone, strict=True))
        kept = sum(float((b - arm.values[tail, key]).mean()) for b, (_, arm) in zip(base, here, strict=True))
        shortest = min(len(b) for b in base)
        lead = [
            float(np.mean([(arm.values[tail, key] - _values(c, arms.GUARDED, tail, key))[k] for c, arm in here]))
            for k in range(shortest)
        ]
        difference = paired_mean_difference(lead, [0.0] * shortest)
        out[name] = {
            "cells": len(here),
            "gain": kept / possible if possible > 0.0 else None,
            "net": kept / len(here),
            "guard_ahead_by": difference.to_json(),
            "beaten": difference.low is not None and difference.low > 0.0,
        }
    return out


def _mean_availability(cells: Sequence[Cell]) -> float | None:
    return mean([mean(cell.guarded.availability) or 0.0 for cell in cells])
