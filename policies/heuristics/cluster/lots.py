"""An order drawn by lots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, SchedulingHeuristic


class RandomOrder(SchedulingHeuristic):
    """A fresh random order at each decision that can start something."""

    name = "random"
    reads_estimate = False

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return self._rng.random(self.n_replicas - 1)
