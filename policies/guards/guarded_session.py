"""A guard around an agent that acts from outside, as one in training does: the environment asks the guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout
from ..interface import Feedback, OutcomeSignal, Policy
from .guard import Guard
from .guarded_policy import GuardedPolicy


class Proposal:
    """A policy that proposes what the agent has just chosen.

    Attributes:
        action: The agent's choice, as it gave it.
        asked: Whether the guard asked for it.
    """

    name = "agent"

    def __init__(self) -> None:
        self.action: Any = None
        self.asked = False

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """The agent's choice, and ``state`` as given."""
        self.asked = True
        return self.action, state


class SessionDecision(NamedTuple):
    """What became of one choice of the agent.

    Attributes:
        executed: What is to be executed.
        asked: Whether the guard asked for the agent's choice; it does not while the fallback rules.
    """

    executed: int
    asked: bool


class GuardedSession:
    """One run of an agent behind a guard; every choice goes through one :class:`GuardedPolicy`, as in a replay.

    Attributes:
        policy: That policy, with its supervisor and its decision log.
    """

    def __init__(self, fallback: Policy, guard: Guard, layout: Layout, last_rung: Policy | None = None) -> None:
        self._agent = Proposal()
        self.policy = GuardedPolicy(self._agent, fallback, guard, layout, last_rung)
        self._state: Any = None
        self._decision = 0

    def decide(
        self,
        action: Any,
        observation: NDArray[np.float32],
        now_s: float,
        mask: NDArray[np.bool_] | None,
        outcomes: Sequence[OutcomeSignal],
        point: Any = None,
    ) -> SessionDecision:
        """Judge one choice of the agent.

        Args:
            action: What the agent chose; whatever it is, the guard judges it.
            observation: What it chose upon, shape (layout.size,), float32.
            now_s: Simulated time, in seconds.
            mask: Legal actions, shape (n_actions,); ``None`` where all are.
            outcomes: Outcomes that became known since the last choice, oldest first; decisions count from 0 within
                the session.
            point: The simulator's decision point, for checks that play actions forward; they must see every one.

        Raises:
            HandrailError: An outcome is of a decision that was not yet made.
        """
        self._agent.action, self._agent.asked = action, False
        self.policy.notify(Feedback(now_s, self._decision, mask, tuple(outcomes)))
        if self.policy.watch is not None:
            self.policy.watch(point)
        executed, self._state = self.policy.predict(observation, self._state)
        self._decision += 1
        return SessionDecision(int(executed), self._agent.asked)
