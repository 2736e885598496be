"""Dominant resource fairness over tenants (Ghodsi et al., NSDI'11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline


class DominantResourceFairness(QueueDiscipline):
    """The tenant with the smallest dominant share goes next; within a tenant, by arrival.

    A dominant share is the largest of a tenant's shares of GPUs, processors and memory. Shares change with every start,
    so the order is made anew after each: progressive filling.
    """

    name = "drf"
    is_static = False
    follows_starts = True

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        return jobs.tenant_share[jobs.tenant[rows]]
