"""The first K waiting jobs in their standing order: what a policy may choose from, and which of them it may."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .backfill.reference import Commitment
from .state import ClusterState


class Window:
    """The choice at a decision point.

    Attributes:
        rows: Waiting jobs that are shown, in their standing order, shape (n,) with n <= K; jobs whose tenants are at
            their quotas are not.
        fits: Which of them fit now, shape (n,).
        mask: Legal actions, shape (K + 1,); the last one starts nothing.
        commits: Whether a choice is committed and need not fit (RLScheduler's protocol).
        arrivals: Jobs that have arrived since an observer last took them in.
    """

    def __init__(self, state: ClusterState, size: int, commitment: Commitment | None) -> None:
        self._state = state
        self.commits = commitment is not None
        self.size = size
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.fits: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self.mask: NDArray[np.bool_] = np.zeros(size + 1, dtype=bool)
        self.arrivals: list[int] = []

    def _first_rows(self, state: ClusterState) -> list[int]:
        if state.quota is None:
            return state.waiting.first_rows(self.size, state.clock.now)
        return state.standing(state.clock.now)[: self.size].tolist()

    def note_arrival(self, row: int) -> None:
        """A job arrived; observers take it in at the next decision."""
        self.arrivals.append(row)

    def look(self, *, may_wait: bool) -> NDArray[np.bool_] | None:
        """Take in the queue; the legal actions, or None where nothing can start."""
        state = self._state
        waiting = state.waiting
        if not len(waiting) or (not self.commits and state.is_full):
            return None
        rows = self._first_rows(state)
        jobs = state.jobs
        kind_of, demands, fits_now = jobs.kind_of, jobs.demands, state.pool.fits
        kinds = [kind_of[row] for row in rows]
        fits = {kind: fits_now(demands[row]) for kind, row in dict(zip(kinds, rows, strict=True)).items()}
        if not (rows if self.commits else any(fits.values())):
            return None
        self.rows = np.array(rows, dtype=np.int64)
        self.fits = np.array([fits[kind] for kind in kinds], dtype=bool)
        mask = np.zeros(self.size + 1, dtype=bool)
        mask[: len(rows)] = True if self.commits else self.fits
        mask[-1] = may_wait
        self.mask = mask
        return mask
