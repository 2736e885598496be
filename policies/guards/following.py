"""A policy in a played future: it decides for a while, the fallback beside it, and then the fallback alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface import Feedback, Policy
from .context import read_action


class Following:
    """Copies of a policy and of the fallback, as a guard has them: both see every decision, one of them rules.

    What the policy gives that is no legal action, and what it raises, is replaced by the fallback's choice, as a guard
    does. It is asked no more once ``until_s`` has come.

    Attributes:
        latency_s: Decision latency of the last decision, in simulated seconds.
    """

    def __init__(
        self, policy: Policy, policy_state: Any, fallback: Policy, fallback_state: Any, until_s: float, n_actions: int
    ) -> None:
        """Take over two copies.

        Args:
            policy: Rules before ``until_s``.
            policy_state: Its state after its last ``predict``.
            fallback: Rules from then on.
            fallback_state: Its state after its last ``predict``.
            until_s: Until when the policy rules, in simulated seconds.
            n_actions: Number of actions.
        """
        self.latency_s = 0.0
        self._policy, self._policy_state = policy, policy_state
        self._fallback, self._fallback_state = fallback, fallback_state
        self._until_s = until_s
        self._n_actions = n_actions
        self._mask: NDArray[np.bool_] | None = None
        self._rules = True

    def notify(self, feedback: Feedback) -> None:
        """Take the time and the legal actions; pass them on."""
        self._rules = feedback.now_s < self._until_s
        self._mask = feedback.action_mask
        tell = getattr(self._fallback, "notify", None)
        if tell is not None:
            tell(feedback)
        tell = getattr(self._policy, "notify", None)
        if tell is not None and self._rules:
            try:
                tell(feedback)
            except (Exception, SystemExit):
                self._until_s = -math.inf
                self._rules = False

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[int, Any]:
        """Decide; states are kept here."""
        raw, self._fallback_state = self._fallback.predict(observation, self._fallback_state, None, deterministic)
        self.latency_s = float(getattr(self._fallback, "latency_s", 0.0))
        if self._rules:
            try:
                answer, self._policy_state = self._policy.predict(
                    observation.copy(), self._policy_state, None, deterministic
                )
                action, malformed = read_action(answer)
                waited_s = float(getattr(self._policy, "latency_s", 0.0))
            except (Exception, SystemExit):
                return int(raw), None
            legal = not malformed and 0 <= action < self._n_actions and (self._mask is None or self._mask[action])
            if legal:
                self.latency_s += waited_s if 0.0 <= waited_s < math.inf else 0.0
                return action, None
        return int(raw), None
