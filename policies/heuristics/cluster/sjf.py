"""Shortest job first, and smallest area first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, SchedulingHeuristic


class ShortestJobFirst(SchedulingHeuristic):
    """By estimated run time."""

    name = "sjf"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return self._estimates_s(observation)


class SmallestAreaFirst(SchedulingHeuristic):
    """By estimated run time times GPUs (processors)."""

    name = "saf"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return self._estimates_s(observation) * self._processors(observation)
