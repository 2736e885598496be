"""Conservative backfilling (Mu'alem and Feitelson, TPDS 2001): every waiting job has a reservation that is kept.

A job is promised the earliest time at which it fits beside all promises made before; it may be moved earlier when
others end early, never later, as long as running jobs keep to their expected ends. Availability is counted in GPUs
(processors) in all; where machines differ in what is free on them, a job starts at its promise only if it can also be
placed. What quota or the rule for overdue jobs keep from starting holds no promise: it would keep others waiting too.

A pass puts the promises into a profile of free capacity, oldest first, those that no longer fit and new jobs as early
as they do; then, in the standing order, each job moves to the earliest time that it now could have. Most passes can
leave most jobs alone. A job can only move if more has come free before its promise than there was when it was last
tried: the end of the last such stretch is kept, and who needs more than is free anywhere before it is passed over.
"""

from __future__ import annotations

from math import inf

import numpy as np

from ..state import ClusterState
from .easy import in_turn
from .profile import Floats, Ints, Profile

MILLI = 1000


class ConservativePass:
    """Keeps the promises."""

    def __init__(self) -> None:
        self._rows: Ints = np.empty(0, dtype=np.int64)  # waiting jobs with a promise, rising
        self._starts_s: Floats = np.empty(0)  # their promised starts
        self._ends_s: dict[int, float] = {}  # expected ends of running jobs, as the last profile had them
        self._capacity = 0
        self._freed_until_s = -inf

    @property
    def promised_s(self) -> dict[int, float]:
        """Promised start of each waiting job that has one, by row."""
        return dict(zip(self._rows.tolist(), self._starts_s.tolist(), strict=True))

    def __call__(self, state: ClusterState) -> None:
        if not len(state.waiting):
            self._rows, self._starts_s = self._rows[:0], self._starts_s[:0]
            return
        now_s = state.clock.now
        state.running.correct(now_s)
        _Sweep(self, state, now_s).run()


class _Sweep:
    """One pass, over columns of the jobs that may have a promise, in their standing order."""

    def __init__(self, kept: ConservativePass, state: ClusterState, now_s: float) -> None:
        self._kept = kept
        self._state = state
        self._now_s = now_s
        self._rows = _eligible(state, now_s)
        self._sizes: Ints = np.rint(state.jobs.size[self._rows] * MILLI).astype(np.int64)
        self._durations_s = state.expected_all_s(self._rows) / state.slowest_speed
        self._waits = np.ones(len(self._rows), dtype=bool)
        self._starts_s = self._promised_before()
        self._freed_until_s = self._freed_since()
        self._moved_until_s = -inf

    def run(self) -> None:
        self._profile = self._keep_promises()
        i = 0
        while i < len(self._rows):
            # Who could move, as long as nobody does.
            due = self._starts_s[i:] <= self._now_s
            due |= self._sizes[i:] <= self._profile.most_between(self._now_s, self._freed_until_s)
            changed = next((k for k in (i + due.nonzero()[0]).tolist() if self._visit(k)), None)
            if changed is None:
                break
            i = changed + 1
        self._remember()

    def _promised_before(self) -> Floats:
        """Promises so far, nan where there is none."""
        kept = self._kept
        if not len(kept._rows):
            return np.full(len(self._rows), np.nan)
        at = np.minimum(np.searchsorted(kept._rows, self._rows), len(kept._rows) - 1)
        return np.where(kept._rows[at] == self._rows, kept._starts_s[at], np.nan)

    def _freed_since(self) -> float:
        """Until when more may be free than when jobs were last tried."""
        kept, now_s, state = self._kept, self._now_s, self._state
        until_s = kept._freed_until_s
        self._ends_s = {row: end_s for end_s, row in state.running.expected_rows()}
        for row, end_s in kept._ends_s.items():
            if end_s > until_s and self._ends_s.get(row, now_s) < end_s:
                until_s = end_s
        dropped = np.isin(kept._rows, self._rows, invert=True)
        if dropped.any():
            until_s = inf  # a promise was given up: rare enough not to ask where it ended
        capacity = round(state.pool.free_size * MILLI) + sum(self._running_sizes().tolist())
        if capacity != kept._capacity:
            until_s, kept._capacity = inf, capacity
        return until_s

    def _running_sizes(self) -> Ints:
        return np.rint(self._state.running.profile()[1] * MILLI).astype(np.int64)

    def _keep_promises(self) -> Profile:
        now_s, starts_s, sizes, durations_s = self._now_s, self._starts_s, self._sizes, self._durations_s
        free = round(self._state.pool.free_size * MILLI)
        ends_s, released = self._state.running.profile()[0], self._running_sizes()
        old = np.flatnonzero(~np.isnan(starts_s))
        old = old[np.lexsort((self._rows[old], starts_s[old]))]
        held = np.isfinite(starts_s)
        starts_s[held] = np.maximum(starts_s[held], now_s)
        until_s = starts_s[held] + durations_s[held]
        ending = until_s < inf
        profile = Profile(
            now_s,
            free,
            np.concatenate((ends_s, starts_s[held], until_s[ending])),
            np.concatenate((released, -sizes[held], sizes[held][ending])),
        )
        if profile.free.min() < 0:
            # Not all of them can be kept.
            self._freed_until_s = inf
            profile = Profile(now_s, free, ends_s, released)
        else:
            old = old[np.isinf(starts_s[old])]
        for k in [*old.tolist(), *np.flatnonzero(np.isnan(starts_s)).tolist()]:
            start_s, duration_s, size = float(starts_s[k]), float(durations_s[k]), int(sizes[k])
            if not start_s < inf or not profile.fits_at(start_s, duration_s, size):
                start_s = starts_s[k] = profile.earliest(size, duration_s)
            if start_s < inf:
                profile.take(start_s, duration_s, size)
        return profile

    def _visit(self, k: int) -> bool:
        """Move job ``k`` to the earliest time that it could have, start it if that is now; whether it did either."""
        now_s, profile = self._now_s, self._profile
        promised_s, duration_s, size = float(self._starts_s[k]), float(self._durations_s[k]), int(self._sizes[k])
        start_s = profile.earliest(size, duration_s, promised_s, self._freed_until_s)
        if start_s < promised_s:
            self._starts_s[k] = start_s
            if promised_s < inf:
                profile.take(promised_s, duration_s, -size)
                self._moved_until_s = max(self._moved_until_s, promised_s + duration_s)
                self._freed_until_s = max(self._freed_until_s, promised_s + duration_s)
            profile.take(start_s, duration_s, size)
        if start_s <= now_s and self._try_to_start(k):
            self._ends_s[int(self._rows[k])] = now_s + duration_s
            self._waits[k] = False
            return True
        return start_s < promised_s

    def _try_to_start(self, k: int) -> bool:
        state, row = self._state, int(self._rows[k])
        if not state.within_quota(row) or not in_turn(state, row):
            return False
        allocation = state.pool.place(state.jobs.demands[row])
        if allocation is None:
            return False
        state.start(row, allocation)
        return True

    def _remember(self) -> None:
        kept, waits = self._kept, self._waits
        order = np.argsort(self._rows[waits])
        kept._rows = self._rows[waits][order]
        kept._starts_s = self._starts_s[waits][order]
        kept._ends_s = self._ends_s
        kept._freed_until_s = self._moved_until_s


def _eligible(state: ClusterState, now_s: float) -> Ints:
    """Waiting jobs, in their standing order, that neither quota nor the rule for overdue jobs keeps from starting."""
    rows = state.waiting.order(now_s)
    n_overdue = len(state.waiting.overdue)
    if n_overdue:
        rest = rows[len(rows) if state.overdue.passes_spent(state) else n_overdue :]
        first = state.overdue.first(state)
        rows = rest if first is None else np.concatenate(((first,), rest))
    if state.quota is None:
        return rows
    return np.array([row for row in rows.tolist() if state.within_quota(row)], dtype=np.int64)
