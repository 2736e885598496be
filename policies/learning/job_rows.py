"""What MaskablePPO is shown of an observation: the scorer's own features, so that network and export see the same."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...envs.common import Layout
from ..network import FeatureMap
from .features import ScorerSearch

GLOBAL_SCALE = 4.0
"""Global fields enter the critic as ``log1p`` over this, which brings all of them to between 0 and 5."""

LARGEST = 1e6
"""Bound of the observation space; normalised features stay far below it."""


class RowShapes:
    """Where the parts of a vector of :class:`JobRows` stand.

    Attributes:
        choices: Rows: waiting jobs of the window, and one for waiting.
        features: Inputs of the scorer a row.
        globals: Global fields.
        size: Length of the vector: features of all rows, which rows are taken, global fields, ``dt_s``.
    """

    def __init__(self, layout: Layout, search: ScorerSearch) -> None:
        self.choices = layout.n_replicas
        self.features = len(search.features)
        self.globals = len(layout.global_fields)
        self.size = self.choices * (self.features + 1) + self.globals + 1


class JobRows(gym.Wrapper[NDArray[np.float32], Any, NDArray[np.float32], Any]):
    """Replaces the observation by normalised features, float32 of shape (RowShapes.size,).

    First the features of every row, row-major, then 1 for each row that is taken (a job stands there, or it stands for
    waiting), then the global fields for the critic, and last ``info["dt_s"]``, the simulated seconds of the step that
    led here, by which returns are discounted.

    Args:
        env: An environment with ``action_masks()`` whose observations are of ``layout``.
        layout: Layout of the observations.
        search: Features and normalisation.
    """

    def __init__(self, env: gym.Env[Any, Any], layout: Layout, search: ScorerSearch) -> None:
        super().__init__(env)
        shapes = RowShapes(layout, search)
        self.observation_space = spaces.Box(-LARGEST, LARGEST, (shapes.size,), dtype=np.float32)
        self._layout = layout
        self._features = FeatureMap(layout, search.features)
        self._mean = search.mean
        self._scale = 1.0 / search.std

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self.rows(observation, 0.0), info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One decision."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self.rows(observation, float(info.get("dt_s", 0.0))), float(reward), terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal choices, shape (choices,)."""
        return self.env.unwrapped.action_masks()  # type: ignore[attr-defined]

    def rows(self, observation: NDArray[np.float32], dt_s: float) -> NDArray[np.float32]:
        """The vector for one observation."""
        layout = self._layout
        z = (self._features(observation) - self._mean) * self._scale
        taken = (layout.replica(observation, "size_share") > 0.0) | (layout.replica(observation, "is_wait") > 0.0)
        summary = np.log1p(layout.globals(observation)) / GLOBAL_SCALE
        return np.concatenate((z.ravel(), taken, summary, (dt_s,)), dtype=np.float32)
