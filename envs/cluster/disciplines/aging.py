"""WFP3 and UNICEP: priorities that grow with the wait (Tang et al., "Fault-aware, utility-based job scheduling on Blue
Gene/P systems", CLUSTER 2009)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline

TINY = 1e-300
"""Stands for log2(1) taken from above: a job of one processor goes before any other under UNICEP."""


class Wfp3(QueueDiscipline):
    """-(w / r)^3 n: the wait relative to the run time, cubed, times the size."""

    name = "wfp3"
    needs_estimate = True
    is_static = False

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        waited_s = now_s - jobs.arrival_s[rows]
        return -((waited_s / np.maximum(jobs.estimate_s[rows], 1e-9)) ** 3) * jobs.size[rows]


class Unicep(QueueDiscipline):
    """-w / (log2(n) r)."""

    name = "unicep"
    needs_estimate = True
    is_static = False

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        waited_s = now_s - jobs.arrival_s[rows]
        spread = np.maximum(np.log2(np.maximum(jobs.size[rows], 1.0)), TINY)
        with np.errstate(over="ignore"):
            return -waited_s / (spread * np.maximum(jobs.estimate_s[rows], 1e-9))
