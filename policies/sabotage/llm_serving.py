"""Broken routers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ..heuristics.llm_serving import ExpectedDrain, RandomChoice, RoutingHeuristic
from .common import HEALTHY_DECISIONS, PREFIX, NotANumber


class Worst(ExpectedDrain):
    """Legal and harmful: the longest expected drain among the replicas that are up (lowest index in a tie)."""

    name = "sabotage:worst"

    def choose(self, observation: NDArray[np.float32]) -> int:
        scores = self.scores(observation)
        scores[observation[self._up] == 0.0] = -np.inf
        return int(scores.argmax())


class Random(RandomChoice):
    """Legal and careless: any replica that is up."""

    name = "sabotage:random"


class Constant(RoutingHeuristic):
    """Always replica 0, also while it is down (which is then an illegal action)."""

    name = "sabotage:constant"
    knows = "none"
    needs_observation = False

    def choose(self, observation: NDArray[np.float32]) -> int:
        return 0


class Slow(ExpectedDrain):
    """The fallback's own choices, but each takes ``latency_s`` simulated seconds to make."""

    name = "sabotage:slow"
    latency_s = 5.0


class Raise(ExpectedDrain):
    """The fallback's own choices for ``HEALTHY_DECISIONS`` decisions, then an exception at every call."""

    name = "sabotage:raise"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self.healthy_decisions = HEALTHY_DECISIONS
        self._decisions = 0

    def choose(self, observation: NDArray[np.float32]) -> int:
        if self._decisions >= self.healthy_decisions:
            raise RuntimeError(f"sabotage: raising from decision {self.healthy_decisions} on")
        self._decisions += 1
        return super().choose(observation)


SABOTAGES: dict[str, type[RoutingHeuristic] | type[NotANumber]] = {
    cls.name.removeprefix(PREFIX): cls for cls in (Worst, Random, Constant, NotANumber, Slow, Raise)
}

Healthy = ExpectedDrain
"""What is healthy about those that are broken only now and then: the default fallback of routing."""
