"""What broken policies of all domains share, and the one that knows no domain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout

PREFIX = "sabotage:"

HEALTHY_DECISIONS = 100
"""How many decisions the policy that raises makes before it does."""


class NotANumber:
    """Returns not-a-number where an index belongs."""

    name = "sabotage:nan"
    knows = "none"
    needs_observation = False
    latency_s: float = 0.0

    def __init__(self, layout: Layout, seed: int = 0) -> None:
        self.n_replicas = layout.n_replicas

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[float, Any]:
        """Return ``nan`` and ``state`` as given."""
        return float("nan"), state
