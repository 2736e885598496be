"""How often overdue jobs have been passed by jobs that arrived later."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .state import ClusterState


class OverduePasses:
    """Counts, for each overdue job, the later arrivals that have started since it became overdue.

    The oldest overdue job has always been passed at least as often as any younger one: it became overdue before it, and
    whatever passes the younger one passes it too. A job whose tenant is at its quota is passed without blame: it counts
    the pass, but holds nobody up while it could not start itself.
    """

    def __init__(self) -> None:
        self._rows = array("q")
        self._passes = array("q")
        self._first: int | None = None
        self._first_at = -1  # the state's change at which `_first` was looked up

    def fork(self) -> OverduePasses:
        """The counts of a forked replay."""
        twin = OverduePasses()
        twin._rows = self._rows[:]
        twin._passes = self._passes[:]
        twin._first, twin._first_at = self._first, self._first_at
        return twin

    def note_overdue(self, row: int) -> None:
        """Job ``row`` becomes overdue."""
        place = bisect_left(self._rows, row)
        # A job that comes back from a failure may find younger ones overdue: it takes over their passes, so that it
        # has no fewer than they.
        passes = self._passes[place] if place < len(self._rows) else 0
        self._rows.insert(place, row)
        self._passes.insert(place, passes)

    def note_start(self, row: int) -> None:
        """Job ``row`` starts: each overdue job that arrived before it is passed once more."""
        rows = self._rows
        if not rows:
            return
        place = bisect_left(rows, row)
        if place:
            np.frombuffer(self._passes, dtype=np.int64)[:place] += 1
        if place < len(rows) and rows[place] == row:
            del rows[place]
            del self._passes[place]

    def forget(self, row: int) -> None:
        """Job ``row`` waits no longer, without having started."""
        place = bisect_left(self._rows, row)
        if place < len(self._rows) and self._rows[place] == row:
            del self._rows[place]
            del self._passes[place]

    def of(self, row: int) -> int:
        """Passes that the overdue job has suffered."""
        return self._passes[bisect_left(self._rows, row)]

    def first(self, state: ClusterState) -> int | None:
        """The oldest overdue job whose tenant is within its quota."""
        if self._first_at != state.changes:
            self._first_at = state.changes
            self._first = next((row for row in self._rows if state.within_quota(row)), None)
        return self._first

    def passes_spent(self, state: ClusterState) -> bool:
        """Whether an overdue job has been passed as often as it may be, so that no later arrival may start."""
        if not self._rows:
            return False
        first = self.first(state)
        return first is not None and self.of(first) >= state.config.overdue_passes

    def cost(self, row: int, state: ClusterState) -> int:
        """1 + the most passes suffered so far by an overdue job that ``row`` would pass; 0 if it would pass none."""
        if not self._rows:
            return 0
        first = self.first(state)
        return 0 if first is None or first >= row else 1 + self.of(first)
