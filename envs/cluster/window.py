"""The first K waiting jobs in their standing order: what a policy may choose from, and which of them it may."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from .backfill.reference import Commitment
from .state import ClusterState


class Window:
    """The choice at a decision point.

    Attributes:
        rows: Waiting jobs that are shown, in their standing order, shape (n,) with n <= K. Of a longer queue they are
            the head, then the first that fit, then the first of the others; under RLScheduler's protocol the first K.
            Jobs whose tenants are at their quotas are not shown.
        fits: Which of them fit now, shape (n,).
        kinds_that_fit: Kinds of demand that wait and fit now (`jobs.JobTable.kind_of`).
        mask: Legal actions, shape (K + 1,); the last one starts nothing.
        commits: Whether a choice is committed and need not fit (RLScheduler's protocol).
    """

    def __init__(self, state: ClusterState, size: int, commitment: Commitment | None) -> None:
        self._state = state
        self.commits = commitment is not None
        self.size = size
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.fits: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self.kinds_that_fit: list[int] = []
        self.mask: NDArray[np.bool_] = np.zeros(size + 1, dtype=bool)

    def fork(self, state: ClusterState) -> Window:
        """The window of a forked replay; its arrays are made anew at each look, so they can be shared."""
        twin = copy(self)
        twin._state = state
        return twin

    def _first_rows(self, state: ClusterState) -> NDArray[np.int64]:
        if state.quota is None:
            return state.waiting.first_rows(self.size, state.clock.now)
        return state.standing(state.clock.now)[: self.size]

    def look(self, *, may_wait: bool) -> NDArray[np.bool_] | None:
        """Take in the queue; the legal actions, or None where nothing can start."""
        state = self._state
        waiting = state.waiting
        if not len(waiting) or (not self.commits and state.is_full):
            return None
        kinds, fits_now = state.jobs.kinds, state.pool.fits
        fitting = [kind for kind in waiting.kinds if fits_now(kinds[kind])]
        if not fitting and not self.commits:
            return None
        all_fit = len(fitting) == len(waiting.kinds)
        if self.commits or all_fit or len(waiting) <= self.size:
            rows = self._first_rows(state)
        else:
            rows = self._fitting_rows(state, fitting)
        fits = np.ones(len(rows), dtype=bool) if all_fit else self._which(fitting)[state.jobs.kind[rows]]
        if state.quota is not None and not (len(rows) if self.commits else np.count_nonzero(fits)):
            return None  # those that fit are of tenants at their quotas
        self.rows = rows
        self.fits = fits
        self.kinds_that_fit = fitting
        mask = np.zeros(self.size + 1, dtype=bool)
        mask[: len(rows)] = True if self.commits else fits
        mask[-1] = may_wait
        self.mask = mask
        return mask

    def _fitting_rows(self, state: ClusterState, fitting: list[int]) -> NDArray[np.int64]:
        """The head, the first that fit, and the first of the others, in their standing order."""
        order = state.standing(state.clock.now)
        shown = self._which(fitting)[state.jobs.kind[order]]
        shown[:1] = True
        more = self.size - int(np.count_nonzero(shown))
        if more <= 0:
            return order[shown.nonzero()[0][: self.size]]
        shown[(~shown).nonzero()[0][:more]] = True
        return order[shown]

    def _which(self, kinds: list[int]) -> NDArray[np.bool_]:
        """Those kinds of demand, as a column over all."""
        which = np.zeros(len(self._state.jobs.kinds), dtype=bool)
        which[kinds] = True
        return which
