"""A scheduling problem with a known answer, for tests of training: of the legal jobs start the one of smallest area."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from synthetic_cluster import job, queue

from handrail.envs.cluster.layout import layout_for

LAYOUT = layout_for(4)


def random_queue(rng: np.random.Generator) -> np.ndarray:
    """Two to four jobs, some of which do not fit or delay the head, and the choice to wait."""
    jobs = [
        job(
            fits=float(slot == 0 or rng.random() < 0.7),
            size_share=float(2.0 ** -rng.integers(0, 7)),
            estimate_s=float(rng.lognormal(5.0, 1.0)),
            wait_s=float(rng.random() * 3600.0),
            head_delay_s=float(rng.random() * 600.0) if slot and rng.random() < 0.3 else 0.0,
        )
        for slot in range(int(rng.integers(2, 5)))
    ]
    return queue(*jobs, layout=LAYOUT, free_share=float(rng.random()), load_6h=float(rng.random()))


def best_choice(observation: np.ndarray) -> int:
    """The legal job with the smallest area."""
    area = LAYOUT.replica(observation, "size_share") * LAYOUT.replica(observation, "estimate_s")
    return int(np.where(LAYOUT.replica(observation, "up")[:-1] > 0.0, area[:-1], np.inf).argmin())


class SmallestArea(gym.Env):
    """Reward 0 for the best choice, -1 for another; every 20 steps a new episode. Illegal choices are errors."""

    observation_space = spaces.Box(LAYOUT.low, LAYOUT.high, dtype=np.float32)
    action_space = spaces.Discrete(5)

    def __init__(self) -> None:
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._steps = 0
        self._seen = random_queue(self.np_random)
        return self._seen, {"dt_s": 0.0}

    def step(self, action: int):
        assert self.action_masks()[int(action)]
        reward = 0.0 if action == best_choice(self._seen) else -1.0
        self._steps += 1
        self._seen = random_queue(self.np_random)
        return self._seen, reward, False, self._steps >= 20, {"dt_s": 60.0}

    def action_masks(self) -> np.ndarray:
        return LAYOUT.replica(self._seen, "up") > 0.0


def share_right(network: Any, n: int = 500) -> float:
    """How often the network makes the best choice."""
    rng = np.random.default_rng(99)
    seen = [random_queue(rng) for _ in range(n)]
    return float(np.mean([network.act(o) == best_choice(o) for o in seen]))
