"""What value heads are fitted on: observations of a run and what came of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interface import Feedback, Policy
from .value_heads import discounted_returns


class ReturnCollector:
    """A policy that decides as another one does and keeps its observations and outcomes.

    Run it over training or validation windows, one object a window, and give :meth:`pairs` of all to
    :func:`~handrail.policies.value_heads.fit_value_heads`. It holds every ``every``-th observation.
    """

    def __init__(self, policy: Policy, *, every: int = 1) -> None:
        self.name = getattr(policy, "name", type(policy).__name__)
        self._policy = policy
        self._every = every
        self._rows: list[NDArray[np.float32]] = []
        self._decisions = 0
        self._values: dict[int, float] = {}

    @property
    def latency_s(self) -> float:
        """The policy's decision latency, in simulated seconds."""
        return getattr(self._policy, "latency_s", 0.0)

    def notify(self, feedback: Feedback) -> None:
        """Keep the outcomes, and pass the feedback on."""
        for outcome in feedback.outcomes:
            self._values[outcome.decision] = outcome.value
        notify = getattr(self._policy, "notify", None)
        if notify is not None:
            notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Keep the observation, and decide as the policy does."""
        if self._decisions % self._every == 0:
            self._rows.append(observation.copy())
        self._decisions += 1
        return self._policy.predict(observation, state, episode_start, deterministic)

    def pairs(self, discount: float = 0.99, most: float = np.inf) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Observations, shape (n, size), and the discounted mean of the outcomes' values from each on, shape (n,).

        Args:
            discount: Weight of each further decision.
            most: Values are cut here, so that a lost item (+inf) does not drown the rest; what is still infinite or
                has no outcome is left out.

        Raises:
            HandrailError: The discount does not lie in [0, 1).
        """
        costs = np.full(self._decisions, np.nan)
        for decision, value in self._values.items():
            costs[decision] = min(value, most)
        costs[~np.isfinite(costs)] = np.nan
        returns = discounted_returns(costs, discount)[:: self._every]
        known = np.isfinite(returns)
        rows = np.array(self._rows, dtype=np.float32).reshape(len(self._rows), -1)
        return rows[known], returns[known]
