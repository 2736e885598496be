"""An environment whose guard never lets one of three actions pass, and a layout for it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from handrail.envs.common import Field, Layout

LAYOUT = Layout([Field("up", 0, 1, ""), Field("drain_s", 0, 100, "")], [Field("prompt_ktokens", 0, 10, "")], 3)


def seen(drain: np.ndarray, prompt: float = 1.0) -> np.ndarray:
    return np.array([1, drain[0], 1, drain[1], 1, drain[2], prompt], dtype=np.float32)


class Forbidding(gym.Env):
    """Action 2 is executed as 0. Reward 1 for an executed 1. Every executed 1 also misses an objective."""

    observation_space = gym.spaces.Box(LAYOUT.low, LAYOUT.high, dtype=np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, guarded: bool = True) -> None:
        self._guarded = guarded
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self._steps = 0
        return seen(self.np_random.random(3) * 50), {}

    def step(self, action: int):
        self._steps += 1
        executed = 0 if self._guarded and action == 2 else int(action)
        info = {"proposed": int(action), "executed": executed, "intervened": executed != action, "asked": True}
        info |= {"cost": float(executed == 1), "judged": 1}
        ended = self._steps >= 20
        return seen(self.np_random.random(3) * 50), float(executed == 1), False, ended, info

    def action_masks(self) -> np.ndarray:
        return np.ones(3, dtype=bool)
