"""What the standing scheme would do: the guard's fallback."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ....traces.errors import HandrailError
from ...fields import replica_slice
from .base import PrefetchHeuristic


class Standing(PrefetchHeuristic):
    """Takes the arm that the observation marks as the standing scheme's.

    The mark is one row at any time, so nothing ties and the rule is its own placebo, decision by decision: whatever
    ``tie_seed``, it behaves alike.

    Raises:
        HandrailError: No row is marked: the menu lacks an arm of the standing scheme.
    """

    name: ClassVar[str] = "standing"

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self.knows = "none"
        self._standing = replica_slice(layout, "standing")

    def choose(self, observation: NDArray[np.float32]) -> int:
        marks = observation[self._standing]
        row = int(marks.argmax())
        if marks[row] <= 0.0:
            raise HandrailError(
                "no arm of the menu is marked as standing; put the standing scheme's prefetcher and degrees in the menu"
            )
        return row
