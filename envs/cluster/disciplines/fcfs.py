"""First come, first served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline


class Fcfs(QueueDiscipline):
    """By arrival."""

    name = "fcfs"

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        return jobs.arrival_s[rows]
