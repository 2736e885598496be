"""Broken prefetch selectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ..fields import replica_slice
from ..heuristics.prefetch import PrefetchHeuristic, RandomArm, Standing
from .common import HEALTHY_DECISIONS, PREFIX, NotANumber


class Worst(PrefetchHeuristic):
    """Legal and harmful: the arm that fetches most ids that are never used.

    By the shadow's ``waste``; of equals the highest degree, and of these the first of the menu.
    """

    name = "sabotage:worst"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self._waste = replica_slice(layout, "waste")
        self._degree = replica_slice(layout, "degree")

    def choose(self, observation: NDArray[np.float32]) -> int:
        waste, degree = observation[self._waste], observation[self._degree]
        return int(np.where(waste == waste.max(), degree, -1.0).argmax())


class Random(RandomArm):
    """Legal and careless: any arm of the menu."""

    name = "sabotage:random"


class Constant(PrefetchHeuristic):
    """Always the same arm, the most aggressive of the menu by degree, whatever comes of it."""

    name = "sabotage:constant"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self._degree = replica_slice(layout, "degree")

    def choose(self, observation: NDArray[np.float32]) -> int:
        return int(observation[self._degree].argmax())


class Slow(Standing):
    """The fallback's own choices, but each takes ``latency_s`` simulated seconds to make."""

    name = "sabotage:slow"
    latency_s = 1.0


class Raise(Standing):
    """The fallback's own choices for ``HEALTHY_DECISIONS`` decisions, then an exception at every call."""

    name = "sabotage:raise"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self.healthy_decisions = HEALTHY_DECISIONS
        self._decisions = 0

    def choose(self, observation: NDArray[np.float32]) -> int:
        if self._decisions >= self.healthy_decisions:
            raise RuntimeError(f"sabotage: raising from decision {self.healthy_decisions} on")
        self._decisions += 1
        return super().choose(observation)


SABOTAGES: dict[str, type[PrefetchHeuristic] | type[NotANumber]] = {
    cls.name.removeprefix(PREFIX): cls for cls in (Worst, Random, Constant, NotANumber, Slow, Raise)
}

Healthy = Standing
"""What is healthy about those that are broken only now and then: the default fallback of prefetching."""
