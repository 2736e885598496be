"""An arm drawn by lots."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import PrefetchHeuristic


class RandomArm(PrefetchHeuristic):
    """Any arm of the menu, drawn afresh at each decision."""

    name: ClassVar[str] = "random"
    needs_observation = False

    def choose(self, observation: NDArray[np.float32]) -> int:
        return self._pick(np.arange(self.n_replicas))
