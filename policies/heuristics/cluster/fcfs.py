"""First come, first served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, SchedulingHeuristic


class FirstComeFirstServed(SchedulingHeuristic):
    """By arrival: the longest wait first."""

    name = "fcfs"
    reads_estimate = False

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return -self._waits_s(observation)
