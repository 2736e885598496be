"""First come, first served by what the queue itself knows: for when nothing that is measured can be believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fcfs import FirstComeFirstServed


class BlindFirstComeFirstServed(FirstComeFirstServed):
    """By arrival, and no job passes the one that has waited longest: no backfilling, since that needs run times.

    It reads which choices are legal, waits, and who is overdue, and no telemetry. In this order:

    1. The overdue job whose turn it is, if it can start.
    2. The job that has waited longest, if it can start and the overdue jobs allow it.
    3. Wait; where that is not legal, the longest wait of what can start, what the overdue jobs allow first.

    It is not among the heuristics of the command line: beside ``fcfs``, which backfills, it is a rung, not a rival.
    """

    name = "fcfs-blind"

    def choose(self, observation: NDArray[np.float32]) -> int:
        up = observation[self._up] > 0.0
        ready = up[: self._wait]
        if not ready.any():
            return self._wait
        due = self._overdue.due(observation)
        if due >= 0:
            return due
        scores = self.scores(observation)
        allowed = ready & self._overdue.permitted(observation)[: self._wait]
        first = self._lowest(scores, np.ones_like(ready))  # an empty slot has waited for nothing, and is never ready
        if allowed[first]:
            return first
        if up[self._wait]:
            return self._wait
        return self._lowest(scores, allowed if allowed.any() else ready)
