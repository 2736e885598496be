"""Which cells of a study count, and the small statistics that its tables share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .cells import Cell
from .config import StudyConfig

TAIL_ROLES = ("clean", "shift", "system")
"""Roles whose loaded cells are held to the bar on tails; faults of sensors and policies have clauses of their own."""

BROKEN = "sabotage:"


def counted(cell: Cell, config: StudyConfig, key: str = "p99") -> bool:
    """Whether a cell counts for a quantile."""
    least = config.min_p99_items if key == "p99" else config.min_p999_items
    return cell.plan.counted and cell.data.measured >= least


def held(cells: Iterable[Cell], config: StudyConfig, key: str = "p99") -> list[Cell]:
    """Loaded cells that count for the bar on tails."""
    return [c for c in cells if c.plan.role in TAIL_ROLES and c.data.load == "loaded" and counted(c, config, key)]


def median(values: Sequence[float | int | None]) -> float | None:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None


def finite(value: float) -> float | None:
    """The value, None where it is infinite."""
    return value if math.isfinite(value) else None
