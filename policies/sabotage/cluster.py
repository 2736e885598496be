"""Broken cluster schedulers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ..heuristics.cluster import DEFAULT_OVERDUE_PASSES, SchedulingHeuristic, ShortestJobFirst
from ..heuristics.cluster.base import Floats
from .common import HEALTHY_DECISIONS, PREFIX, NotANumber


class Worst(SchedulingHeuristic):
    """Legal and harmful: of the jobs that can start the one with most processors x estimated run time.

    It waits only where nothing can start, and heeds neither reservations nor overdue jobs. Where no run time is known
    the size alone counts.
    """

    name = "sabotage:worst"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return -self._processors(observation) * np.maximum(self._estimates_s(observation), 1.0)

    def choose(self, observation: NDArray[np.float32]) -> int:
        ready = observation[self._up][: self._wait] > 0.0
        return self._lowest(self.scores(observation), ready) if ready.any() else self._wait


class Random(SchedulingHeuristic):
    """Legal and careless: any legal choice, waiting among them."""

    name = "sabotage:random"
    reads_estimate = False
    needs_observation = False

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return self._rng.random(self.n_replicas - 1)

    def choose(self, observation: NDArray[np.float32]) -> int:
        legal = observation[self._up].nonzero()[0]
        return self._pick(legal) if legal.size else self._wait


class Constant(SchedulingHeuristic):
    """Always the job in slot 0, also where it does not fit (which is then an illegal action)."""

    name = "sabotage:constant"
    reads_estimate = False
    needs_observation = False

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        return np.arange(self.n_replicas - 1, dtype=np.float64)

    def choose(self, observation: NDArray[np.float32]) -> int:
        return 0


class Slow(ShortestJobFirst):
    """The fallback's own choices, but each takes ``latency_s`` simulated seconds to make."""

    name = "sabotage:slow"
    latency_s = 30.0


class Raise(ShortestJobFirst):
    """The fallback's own choices for ``HEALTHY_DECISIONS`` decisions, then an exception at every call."""

    name = "sabotage:raise"

    def __init__(
        self,
        layout: Layout,
        seed: int = 0,
        tie_seed: int | None = None,
        *,
        overdue_passes: int = DEFAULT_OVERDUE_PASSES,
        knowledge: str = "predicted",
    ) -> None:
        super().__init__(layout, seed, tie_seed, overdue_passes=overdue_passes, knowledge=knowledge)
        self.healthy_decisions = HEALTHY_DECISIONS
        self._decisions = 0

    def choose(self, observation: NDArray[np.float32]) -> int:
        if self._decisions >= self.healthy_decisions:
            raise RuntimeError(f"sabotage: raising from decision {self.healthy_decisions} on")
        self._decisions += 1
        return super().choose(observation)


SABOTAGES: dict[str, type[SchedulingHeuristic] | type[NotANumber]] = {
    cls.name.removeprefix(PREFIX): cls for cls in (Worst, Random, Constant, NotANumber, Slow, Raise)
}

Healthy = ShortestJobFirst
"""What is healthy about those that are broken only now and then: the default fallback of scheduling."""
