"""Rollouts whose returns are discounted by simulated time, as decisions of a scheduler are far from evenly spaced."""

from __future__ import annotations

from typing import Any

import numpy as np
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer


class TimedRolloutBuffer(MaskableRolloutBuffer):
    """Generalised advantage estimation for a semi-Markov process: a step of ``dt_s`` is discounted by
    ``exp(-dt_s / horizon_s)`` (Bradtke & Duff, NeurIPS 1994), where jobs that start at one instant are not at all.

    The last entry of an observation is the ``dt_s`` of the step that led to it. For the last step of a rollout, whose
    next observation is not here, ``gamma`` stands in.

    Args:
        horizon_s: Time constant of the discount; ``None`` discounts each decision by ``gamma``.
    """

    def __init__(self, *args: Any, horizon_s: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._horizon_s = horizon_s

    def compute_returns_and_advantage(self, last_values: Any, dones: Any) -> None:
        """Fill in advantages and returns."""
        discounts = np.full((self.buffer_size, self.n_envs), self.gamma, dtype=np.float32)
        if self._horizon_s is not None:
            discounts[:-1] = np.exp(-self.observations[1:, :, -1] / self._horizon_s)
        next_values, alive = last_values.clone().cpu().numpy().flatten(), 1.0 - dones.astype(np.float32)
        advantage = np.zeros(self.n_envs, dtype=np.float32)
        for step in reversed(range(self.buffer_size)):
            keep = discounts[step] * alive
            delta = self.rewards[step] + keep * next_values - self.values[step]
            advantage = delta + keep * self.gae_lambda * advantage
            self.advantages[step] = advantage
            next_values, alive = self.values[step], 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values
