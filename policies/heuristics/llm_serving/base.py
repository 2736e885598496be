"""What all routing heuristics share: replicas that are down, and how ties are broken."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import PLACEBO_TIE_TOLERANCE, Heuristic


class RoutingHeuristic(Heuristic):
    """A router: the choice is the index of a replica.

    A replica with ``up`` 0 is chosen only when none is up (the choice is then index 0, or any under ``tie_seed``).
    ``knows`` is of output lengths.
    """

    knows: ClassVar[str]

    def _candidates(self, observation: NDArray[np.float32]) -> NDArray[np.intp]:
        """Indices of the replicas that are up, in ascending order; all of them where none is."""
        up = observation[self._up].nonzero()[0]
        return up if up.size else np.arange(self.n_replicas)


class ScoredHeuristic(RoutingHeuristic):
    """A rule that sends the request where a score is lowest; the lowest index wins a tie (but see ``tie_seed``)."""

    @abstractmethod
    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        """Score of each replica, shape (n_replicas,), lower is better; a fresh array that the caller may write to."""

    def choose(self, observation: NDArray[np.float32]) -> int:
        scores = self.scores(observation)
        scores[observation[self._up] == 0.0] = np.inf
        best = int(scores.argmin())
        if self.tie_seed is None:
            return best
        return self._pick((scores <= scores[best] + PLACEBO_TIE_TOLERANCE * abs(scores[best])).nonzero()[0])
