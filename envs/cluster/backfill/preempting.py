"""Passes of the preemptive disciplines (SRTF, LAS, Gittins).

At an event jobs start in the standing order where they fit, passing over those that do not. At most every ``quantum_s``
there is a *round*: all jobs, running ones too, are put in order; the first that together fit the cluster's size shall
run. Those of them that wait start where they fit; if that leaves one out, and it could be placed without the running
jobs that shall not run, these give way. What arrived longer ago than the wait limit stands first, running or not.
"""

from __future__ import annotations

from math import inf

import numpy as np

from ..config import Preemption
from ..running import Attempt
from ..state import ClusterState
from .easy import in_turn, is_overdue


class PreemptivePass:
    """Remembers when the last round was.

    Attributes:
        next_round_s: When a round is due, if jobs wait; the simulator wakes the pass then.
    """

    def __init__(self, preemption: Preemption) -> None:
        self._quantum_s = preemption.quantum_s
        self.next_round_s = 0.0

    def __call__(self, state: ClusterState) -> None:
        now_s = state.clock.now
        if len(state.waiting) and now_s >= self.next_round_s:
            self.next_round_s = now_s + self._quantum_s
            self._round(state, now_s)
        self._fill(state, now_s)

    def _fill(self, state: ClusterState, now_s: float) -> None:
        if len(state.waiting) and not state.is_full:
            _start_what_fits(state.waiting.order(now_s).tolist(), state)

    def _round(self, state: ClusterState, now_s: float) -> None:
        running = state.running.by_row
        order = self._order(state, now_s)
        chosen = self._choose(order, state)
        blocked = _start_what_fits([row for row in order if row in chosen and row not in running], state)
        lose = [attempt for attempt in running.values() if attempt.row not in chosen]
        if not lose or not _fits_without(lose, blocked, state, now_s):
            return
        for attempt in lose:
            state.give_back(attempt)
            state.fall_back(attempt, lost_all_since_checkpoint=False)
            state.count_preemption(attempt.row)
            state.enqueue(attempt.row)
        state.promote()

    @staticmethod
    def _order(state: ClusterState, now_s: float) -> list[int]:
        """Running and waiting jobs by their scores, running ones with what they have attained by now."""
        jobs, running = state.jobs, state.running.by_row
        before_s = {row: float(jobs.attained_s[row]) for row in running}
        for row, attempt in running.items():
            jobs.attained_s[row] += attempt.worked_s(now_s)
        rows = np.array([*running, *state.waiting], dtype=np.int64)
        scores = state.discipline.scores(jobs, rows, now_s)
        limit_s = state.config.wait_limit_s
        if limit_s is not None:
            scores[now_s - jobs.arrival_s[rows] > limit_s] = -np.inf  # first of all, in the order of their arrival
        order = rows[np.lexsort((rows, scores))]
        for row, attained_s in before_s.items():
            jobs.attained_s[row] = attained_s
        return order.tolist()

    @staticmethod
    def _choose(order: list[int], state: ClusterState) -> set[int]:
        """The first jobs of the order that fit the cluster's size and their tenants' quotas together.

        Of those beyond the wait limit none is chosen after one that does not fit: they start in turn.
        """
        left = state.pool.size - state.down_size
        quota = state.quota
        tenant_left = list(quota) if quota is not None else [inf] * state.jobs.n_tenants
        chosen: set[int] = set()
        size_of, tenant_of = state.jobs.size_of, state.jobs.tenant_of
        passed_over = False
        for row in order:
            if passed_over and is_overdue(state, row):
                continue
            size, tenant = size_of[row], tenant_of[row]
            if size <= left and size <= tenant_left[tenant]:
                left = round(left - size, 3)
                tenant_left[tenant] = round(tenant_left[tenant] - size, 3)
                chosen.add(row)
                if left < state.jobs.smallest:
                    break
            elif size <= tenant_left[tenant]:
                passed_over = True
        return chosen


def _start_what_fits(rows: list[int], state: ClusterState) -> list[int]:
    """Start waiting jobs in the order given, passing over those that do not fit; the rows of these."""
    kind_of, demands = state.jobs.kind_of, state.jobs.demands
    refused: set[int] = set()  # kinds of demand: starts only take capacity away
    left: list[int] = []
    for row in rows:
        kind = kind_of[row]
        if kind not in refused and state.within_quota(row) and in_turn(state, row):
            allocation = state.pool.place(demands[row])
            if allocation is not None:
                state.start(row, allocation)
                continue
            refused.add(kind)
        left.append(row)
    return left


def _fits_without(lose: list[Attempt], blocked: list[int], state: ClusterState, now_s: float) -> bool:
    """Whether one of the blocked jobs could be placed if the attempts ended now."""
    jobs = state.jobs
    releases = [(now_s, attempt.allocation) for attempt in lose]
    demands = {jobs.kind_of[row]: jobs.demands[row] for row in blocked}
    return any(state.pool.reserve(demand, now_s, releases).at_s <= now_s for demand in demands.values())
