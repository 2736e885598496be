"""What may start while jobs are overdue: one rule, which the heuristics obey and the starvation check enforces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout


class OverdueRule:
    """Reads from an observation of waiting jobs which of them the overdue ones let pass.

    An overdue job is *eligible* while its tenant is within quota. Two sentences make the rule:

    - Overdue jobs start first come first served among themselves: one that would pass an eligible overdue job
      (``overdue_passed`` above 0) may not start.
    - Another job may start if no eligible overdue job that it passes has been passed ``overdue_passes`` times already
      (``overdue_passed``, which counts this pass, is at most ``overdue_passes``).

    Args:
        layout: Layout of the observations.
        overdue_passes: How many later-arrived jobs may start before an overdue one.

    Raises:
        HandrailError: The layout lacks a field that the rule reads.
    """

    def __init__(self, layout: Layout, overdue_passes: int) -> None:
        self.overdue_passes = overdue_passes
        fields = [field.name for field in layout.replica_fields]
        for name in ("up", "overdue", "overdue_passed"):
            layout.replica(layout.low, name)  # raises, with the names that there are
        self._up, self._overdue, self._passed = (fields.index(name) for name in ("up", "overdue", "overdue_passed"))
        self._layout = layout

    def permitted(self, observation: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which choices the rule leaves, legal or not, shape (layout.n_replicas,); waiting is among them always."""
        rows = self._layout.replica_matrix(observation)
        passed = rows[:, self._passed]
        # A comparison with a number that is none is false: what cannot be judged is not permitted.
        return np.where(rows[:, self._overdue] > 0.0, passed == 0.0, passed <= self.overdue_passes)

    def permits(self, observation: NDArray[np.float32], choice: int) -> bool:
        """Whether the rule leaves this one choice."""
        return bool(self.permitted(observation)[choice])

    def due(self, observation: NDArray[np.float32]) -> int:
        """The overdue job whose turn it is and that can start now; -1 where there is none."""
        rows = self._layout.replica_matrix(observation)
        ready = (rows[:, self._overdue] > 0.0) & (rows[:, self._passed] == 0.0) & (rows[:, self._up] > 0.0)
        return int(ready.argmax()) if ready.any() else -1

    def is_overdue(self, observation: NDArray[np.float32], choice: int) -> bool:
        """Whether that choice is an overdue job."""
        return bool(self._layout.replica_matrix(observation)[choice, self._overdue] > 0.0)

    def passed(self, observation: NDArray[np.float32], choice: int) -> float:
        """``overdue_passed`` of that choice."""
        return float(self._layout.replica_matrix(observation)[choice, self._passed])
