"""The arm whose shadow does best: what one would try first."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ...fields import global_index, replica_slice
from ..base import PLACEBO_TIE_TOLERANCE
from .base import PrefetchHeuristic


class Accuracy(PrefetchHeuristic):
    """Takes the arm with the most coverage less waste, both an access, the waste weighted by the tier's utilisation.

    A covered access saves a miss; a fetch that nobody uses costs the more, the busier the tier is, and next to nothing
    at an idle one. Off scores 0, so nothing is prefetched where every arm would do harm. Among equals the first of the
    menu.
    """

    name: ClassVar[str] = "accuracy"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self._coverage = replica_slice(layout, "coverage")
        self._waste = replica_slice(layout, "waste")
        self._utilisation = global_index(layout, "utilisation_slow")

    def choose(self, observation: NDArray[np.float32]) -> int:
        weight = float(observation[self._utilisation])
        scores = observation[self._coverage].astype(np.float64) - weight * observation[self._waste]
        best = int(scores.argmax())
        if self.tie_seed is None:
            return best
        within = PLACEBO_TIE_TOLERANCE * abs(scores[best])
        return self._pick((scores >= scores[best] - within).nonzero()[0])
