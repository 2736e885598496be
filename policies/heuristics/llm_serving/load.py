"""Rules that look at how much is in flight on each replica."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ...fields import global_index, replica_slice
from .base import RoutingHeuristic, ScoredHeuristic


class LeastRequests(ScoredHeuristic):
    """Fewest requests in flight, by the router's own count (join the shortest queue)."""

    name = "least-requests"
    knows = "none"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._inflight = replica_slice(layout, "inflight")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        return observation[self._inflight].copy()


class LeastTokens(ScoredHeuristic):
    """Fewest tokens outstanding, by the router's own counts.

    Outstanding tokens = prompt tokens sent there without a first token yet + requests in flight there x the output
    estimate of this request's class. The estimate stands for every request in flight: what each has already generated
    is not reported to a router.
    """

    name = "least-tokens"
    knows = "predicted"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._inflight = replica_slice(layout, "inflight")
        self._prefill = replica_slice(layout, "inflight_prefill_ktokens")
        self._output = global_index(layout, "output_estimate_ktokens")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        return observation[self._prefill] + observation[self._inflight] * observation[self._output]


class PowerOfTwo(RoutingHeuristic):
    """Two different replicas drawn at random from those that are up; the one with fewer requests in flight.

    The first drawn wins a tie. Mitzenmacher, "The power of two choices in randomized load balancing" (IEEE TPDS 2001).
    """

    name = "power-of-two"
    knows = "none"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._inflight = replica_slice(layout, "inflight")

    def choose(self, observation: NDArray[np.float32]) -> int:
        candidates = self._candidates(observation)
        # Both numbers are drawn whatever the fleet's state, so that an outage does not shift the stream.
        first_draw, second_draw = self._rng.random(), self._rng.random()
        first = int(first_draw * candidates.size)
        if candidates.size == 1:
            return int(candidates[first])
        second = int(second_draw * (candidates.size - 1))
        second += second >= first
        inflight = observation[self._inflight]
        a, b = int(candidates[first]), int(candidates[second])
        return b if inflight[b] < inflight[a] else a


class VllmDataParallel(ScoredHeuristic):
    """vLLM's own data-parallel routing: least 4 x waiting + running, on counts as last reported.

    Ties go to the next tied replica after a start that moves on by one each decision.
    """

    name = "vllm-dp"
    knows = "none"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._waiting = replica_slice(layout, "waiting")
        self._running = replica_slice(layout, "running")
        self._start = 0 if tie_seed is None else int(self._rng.random() * layout.n_replicas)

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        return observation[self._waiting] * np.float32(4.0) + observation[self._running]

    def choose(self, observation: NDArray[np.float32]) -> int:
        scores = self.scores(observation)
        scores[observation[self._up] == 0.0] = np.inf
        tied = (scores == scores.min()).nonzero()[0]
        chosen = int(tied[tied.searchsorted(self._start) % tied.size])
        self._start = (self._start + 1) % self.n_replicas
        return chosen
