"""Rules that look at nothing but which replicas are up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from .base import RoutingHeuristic


class RandomChoice(RoutingHeuristic):
    """A replica drawn uniformly from those that are up."""

    name = "random"
    knows = "none"
    needs_observation = False

    def choose(self, observation: NDArray[np.float32]) -> int:
        candidates = self._candidates(observation)
        return int(candidates[int(self._rng.random() * candidates.size)])


class RoundRobin(RoutingHeuristic):
    """Each replica in turn, those that are down left out; starts at 0 (under ``tie_seed`` at a random replica)."""

    name = "round-robin"
    knows = "none"
    needs_observation = False

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._next = 0 if tie_seed is None else int(self._rng.random() * layout.n_replicas)

    def choose(self, observation: NDArray[np.float32]) -> int:
        chosen = self._next
        if observation[self._up][chosen] == 0.0:
            candidates = self._candidates(observation)
            chosen = int(candidates[candidates.searchsorted(chosen) % candidates.size])
        self._next = (chosen + 1) % self.n_replicas
        return chosen
