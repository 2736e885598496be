"""Policies that are broken on purpose, each in one way, to show that a guard holds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..envs.common import Layout
from ..traces.errors import HandrailError
from .heuristics.llm_serving import ExpectedDrain, RandomChoice, RoutingHeuristic

PREFIX = "sabotage:"


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
    HEALTHY_DECISIONS: ClassVar[int] = 100

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        super().__init__(layout, seed, tie_seed)
        self._decisions = 0

    def choose(self, observation: NDArray[np.float32]) -> int:
        if self._decisions >= self.HEALTHY_DECISIONS:
            raise RuntimeError(f"sabotage: raising from decision {self.HEALTHY_DECISIONS} on")
        self._decisions += 1
        return super().choose(observation)


class NotANumber:
    """Returns not-a-number where an index belongs."""

    name = "sabotage:nan"
    knows = "none"
    needs_observation = False
    latency_s: float = 0.0

    def __init__(self, layout: Layout, seed: int = 0) -> None:
        self.n_replicas = layout.n_replicas

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[float, Any]:
        """Return ``nan`` and ``state`` as given."""
        return float("nan"), state


SABOTAGES: dict[str, type[RoutingHeuristic] | type[NotANumber]] = {
    cls.name.removeprefix(PREFIX): cls for cls in (Worst, Random, Constant, NotANumber, Slow, Raise)
}


def make_sabotage(name: str, layout: Layout, seed: int = 0) -> RoutingHeuristic | NotANumber:
    """Build a broken policy; ``name`` is ``worst`` or ``sabotage:worst`` and so on.

    Raises:
        HandrailError: No broken policy has that name.
    """
    kind = name.removeprefix(PREFIX)
    if kind not in SABOTAGES:
        choices = ", ".join(PREFIX + kind for kind in SABOTAGES)
        raise HandrailError(f"there is no broken policy {name!r}; choose one of {choices}")
    return SABOTAGES[kind](layout, seed)
