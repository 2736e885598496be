"""RLScheduler's protocol (Zhang et al., SC'20): a chosen job is committed, and its own kind of backfilling.

The committed job blocks until it fits; no other choice is made meanwhile. With backfilling, its shadow time is fixed
once, when it is committed and does not fit, from the request times of the running jobs; then, after every event,
waiting jobs start in the order of their arrival if they fit and would end before the shadow time. There is no
extra-nodes rule.
"""

from __future__ import annotations

from ..state import ClusterState


class Commitment:
    """The committed job and its shadow time.

    Attributes:
        row: The job; None while nothing is committed.
    """

    def __init__(self, backfill: bool) -> None:
        self.row: int | None = None
        self._backfill = backfill
        self._shadow_s: float | None = None

    def commit(self, row: int) -> None:
        """Commit a waiting job."""
        self.row = row
        self._shadow_s = None

    def settle(self, state: ClusterState) -> bool:
        """Start the committed job if it fits, else backfill before it.

        Returns:
            Whether nothing is committed (any more).
        """
        row = self.row
        if row is None:
            return True
        allocation = state.pool.place(state.jobs.demands[row])
        if allocation is not None:
            state.start(row, allocation)
            self.row = None
            return True
        if self._backfill:
            self._start_before(row, state)
        return False

    def _start_before(self, committed: int, state: ClusterState) -> None:
        jobs, pool = state.jobs, state.pool
        now_s = state.clock.now
        if self._shadow_s is None:
            self._shadow_s = pool.reserve(jobs.demands[committed], now_s, state.running.releases()).at_s
        for row in state.waiting.by_arrival().tolist():
            if row == committed or not now_s + jobs.estimate_s[row] < self._shadow_s:
                continue
            allocation = pool.place(jobs.demands[row])
            if allocation is not None:
                state.start(row, allocation)
