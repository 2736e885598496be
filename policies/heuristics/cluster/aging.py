"""WFP3 and UNICEP: priorities that grow with the wait w (Tang et al., "Fault-aware, utility-based job scheduling on
Blue Gene/P systems", CLUSTER 2009)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, SchedulingHeuristic

MIN_ESTIMATE_S = 1e-9
"""Below any run time; an unknown one counts as this short."""

LOG_OF_ONE = 1e-30
"""Stands for log2(1) taken from above: a job of one processor goes before any larger one."""


class Wfp3(SchedulingHeuristic):
    """-(w / r)^3 n: the wait relative to the run time, cubed, times the size."""

    name = "wfp3"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        relative = self._waits_s(observation) / np.maximum(self._estimates_s(observation), MIN_ESTIMATE_S)
        return -(relative**3) * self._processors(observation)


class Unicep(SchedulingHeuristic):
    """-w / (log2(n) r)."""

    name = "unicep"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        spread = np.maximum(np.log2(np.maximum(self._processors(observation), 1.0)), LOG_OF_ONE)
        return -self._waits_s(observation) / (spread * np.maximum(self._estimates_s(observation), MIN_ESTIMATE_S))
