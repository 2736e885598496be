"""A policy that sees the truth: it plays its choices onward in exact forks and takes the one that costs least.

One step of policy improvement over the fallback with the real future known (a rollout in the sense of Bertsekas,
"Rollout algorithms", 1997): an oracle, which says how much could be gained, never a policy for use.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...policies import Feedback
from ...policies.guards.forecast import play


class Lookahead:
    """Takes, of the fallback's action and other legal ones, the one that costs least by the horizon.

    Each is followed by the fallback. Of equals the fallback's own action is taken.

    Attributes:
        name: ``lookahead``.
        forks: How many futures were played.
    """

    name = "lookahead"

    def __init__(self, fallback: Any, horizon_s: float, candidates: int) -> None:
        """Look ahead of ``fallback``.

        Args:
            fallback: What decides after the first step.
            horizon_s: How far is looked, in simulated seconds.
            candidates: Most actions compared, the fallback's among them; the others are the first legal ones.
        """
        self.forks = 0
        self._fallback = fallback
        self._horizon_s = horizon_s
        self._candidates = candidates
        self._notify = getattr(fallback, "notify", None)
        self._mask: NDArray[np.bool_] | None = None
        self._simulator: Any = None
        self._observer: Any = None

    def bind(self, simulator: Any, observer: Any) -> None:
        """Take the running simulator and its observer, before the first decision."""
        self._simulator, self._observer = simulator, observer

    def notify(self, feedback: Feedback) -> None:
        """Keep the legal actions; pass on what the loop tells."""
        self._mask = feedback.action_mask
        if self._notify is not None:
            self._notify(feedback)

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[int, Any]:
        """The action that turns out cheapest."""
        answer, state = self._fallback.predict(observation, state, episode_start, deterministic)
        first = int(answer)
        assert self._mask is not None, "the loop notifies before it asks"
        others = [int(a) for a in self._mask.nonzero()[0] if a != first][: self._candidates - 1]
        if not others:
            return first, state
        until_s = self._simulator.now_s + self._horizon_s
        costs_s = [self._cost_s(action, until_s) for action in (first, *others)]
        return (first, *others)[int(np.argmin(costs_s))], state

    def _cost_s(self, action: int, until_s: float) -> float:
        self.forks += 1
        fork = self._simulator.fork()
        return play(fork, self._observer.fork(fork), copy.deepcopy(self._fallback), action, until_s)
