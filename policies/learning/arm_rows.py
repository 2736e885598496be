"""What PPO is shown of a prefetch observation: the scorer's own features, so that network and export see the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ..network import FeatureMap
from .features import ScorerSearch
from .job_rows import GLOBAL_SCALE, RowShapes


class ArmRows:
    """Turns observations into vectors of :class:`~handrail.policies.learning.job_rows.RowShapes`.

    First the normalised features of every arm, row-major, then 1 for each arm (all of them can be taken), then the
    global fields for the critic, and last the simulated seconds of the step that led here.

    Args:
        layout: Layout of the observations.
        search: Features and normalisation.

    Attributes:
        shapes: Where the parts stand.
    """

    def __init__(self, layout: Layout, search: ScorerSearch) -> None:
        self.shapes = RowShapes(layout, search)
        self._layout = layout
        self._features = FeatureMap(layout, search.features)
        self._mean = search.mean
        self._scale = 1.0 / search.std

    def __call__(self, observation: NDArray[np.float32], dt_s: float) -> NDArray[np.float32]:
        """The vector for one observation, float32 of shape (shapes.size,)."""
        z = (self._features(observation) - self._mean) * self._scale
        summary = np.log1p(self._layout.globals(observation)) / GLOBAL_SCALE
        return np.concatenate((z.ravel(), self._layout.replica(observation, "up"), summary, (dt_s,)), dtype=np.float32)
