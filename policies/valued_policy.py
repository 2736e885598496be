"""A policy with value heads beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interface import Feedback, Policy
from .value_heads import ValueHeads


class ValuedPolicy:
    """Decides as another policy does, and says what its value heads estimate, for a guard.

    Attributes:
        name: The other policy's name.
        policy: That policy.
        values: What the heads estimated at the last decision, shape (heads,), float64.
    """

    def __init__(self, policy: Policy, value_heads: ValueHeads) -> None:
        self.policy = policy
        self.name = getattr(policy, "name", type(policy).__name__)
        self.values: NDArray[np.float64] = np.zeros(0)
        self._value_heads = value_heads

    @property
    def latency_s(self) -> float:
        """The policy's declared decision latency, in simulated seconds."""
        return float(getattr(self.policy, "latency_s", 0.0))

    def notify(self, feedback: Feedback) -> None:
        """Pass the feedback on."""
        notify = getattr(self.policy, "notify", None)
        if notify is not None:
            notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Estimate, and decide as the policy does."""
        self.values = self._value_heads.values(observation)
        return self.policy.predict(observation, state, episode_start, deterministic)
