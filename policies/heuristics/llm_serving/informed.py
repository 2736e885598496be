"""Rules that know the prompt: how long each replica would take for it, and how much of it is cached where."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ...fields import global_index, replica_slice
from .base import ScoredHeuristic


class ExpectedDrain(ScoredHeuristic):
    """Shortest expected drain once this request is there: ``drain_s + prefill_s``.

    It knows each replica's speed and backlog through the observer's latency model, output lengths only through the
    class estimate inside ``drain_s``.
    """

    name = "expected-drain"
    knows = "predicted"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._drain = replica_slice(layout, "drain_s")
        self._prefill = replica_slice(layout, "prefill_s")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        return observation[self._drain] + observation[self._prefill]


class LMetric(ScoredHeuristic):
    """Least new prefill tokens x batch size, nothing to tune (LMetric, arXiv 2603.15202).

    New prefill tokens = prompt tokens in flight there without a first token yet + this prompt less what the router
    believes cached there; batch size = requests in flight there + this one.
    """

    name = "lmetric"
    knows = "none"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._prefill = replica_slice(layout, "inflight_prefill_ktokens")
        self._prefix = replica_slice(layout, "prefix_fraction")
        self._inflight = replica_slice(layout, "inflight")
        self._prompt = global_index(layout, "prompt_ktokens")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        one = np.float32(1.0)
        new_ktokens = observation[self._prefill] + observation[self._prompt] * (one - observation[self._prefix])
        new_ktokens *= observation[self._inflight] + one
        return new_ktokens


class PrefixAffinity(ScoredHeuristic):
    """Longest believed prefix match, if it is worth it and the replica is not overloaded; else least requests.

    As in SGLang's cache-aware routing: a match counts from half of the prompt on (``MIN_MATCH``), and a replica is
    left out of the matching while it has over ``MAX_GAP`` requests more in flight than the least loaded one that is
    up. Equal matches go to the one with fewer requests in flight.
    """

    name = "prefix-affinity"
    knows = "none"

    MIN_MATCH = 0.5
    MAX_GAP = 32

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._prefix = replica_slice(layout, "prefix_fraction")
        self._inflight = replica_slice(layout, "inflight")

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.floating]:
        prefix = observation[self._prefix]
        inflight = observation[self._inflight].copy()
        if prefix.max() < self.MIN_MATCH:
            return inflight
        inflight[observation[self._up] == 0.0] = np.inf
        usable = np.where(inflight <= inflight.min() + self.MAX_GAP, prefix, np.float32(-1.0))
        longest = usable.max()
        if longest >= self.MIN_MATCH:
            inflight[usable != longest] = np.inf
        return inflight
