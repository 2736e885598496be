"""Shortest job first, by what is known of run times, and its sibling by area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline


class ShortestJobFirst(QueueDiscipline):
    """By estimated run time."""

    name = "sjf"
    needs_estimate = True

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        return jobs.estimate_s[rows]


class SmallestAreaFirst(QueueDiscipline):
    """By estimated run time times size."""

    name = "saf"
    needs_estimate = True

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        return jobs.estimate_s[rows] * jobs.size[rows]
