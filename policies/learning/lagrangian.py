"""A price on missed objectives that rises while too many are missed, and falls while few are.

The Lagrangian relaxation of a constrained Markov decision process (Altman, "Constrained Markov Decision Processes",
1999) as used with PPO by Ray, Achiam and Amodei, "Benchmarking Safe Exploration in Deep Reinforcement Learning" (2019).
Imported by ``ppo`` alone, and only when a training starts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

START = 1.0
"""First multiplier, in deviations of the return a missed objective."""

STEP = 10.0
"""What the multiplier rises by after a rollout for each unit by which the share of missed objectives is too high: one
percentage point costs 0.1."""


class PricedEnvs(VecEnvWrapper):
    """Charges each step ``multiplier * (cost - limit * judged)``, over ``1 + multiplier``, by dual ascent.

    Stands outside of the normalisation of rewards, so that the multiplier's unit is that of normalised rewards. A cost
    is charged at the step that reveals it; as it comes after the decision that caused it, the discount should reach
    that far.

    Args:
        venv: Environments that tell ``cost`` and ``judged`` in ``info``.
        limit: Share of outcomes that may miss their objective.
    """

    def __init__(self, venv: Any, limit: float) -> None:
        super().__init__(venv)
        self.limit = limit
        self.multiplier = START
        self._cost = 0.0
        self._judged = 0

    def reset(self) -> Any:
        """Begin an episode everywhere."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Rewards less the price of what was missed."""
        observations, rewards, dones, infos = self.venv.step_wait()
        cost = np.array([info["cost"] for info in infos])
        judged = np.array([info["judged"] for info in infos])
        self._cost += float(cost.sum())
        self._judged += int(judged.sum())
        priced = (rewards - self.multiplier * (cost - self.limit * judged)) / (1.0 + self.multiplier)
        return observations, priced.astype(np.float32), dones, infos

    def ascend(self) -> dict[str, float]:
        """One step of dual ascent on the rollout that has ended; what to log of it."""
        share = self._cost / max(self._judged, 1)
        if self._judged:
            self.multiplier = max(0.0, self.multiplier + STEP * (share - self.limit))
        self._cost, self._judged = 0.0, 0
        return {"lagrangian/multiplier": self.multiplier, "lagrangian/violation_share": share}
