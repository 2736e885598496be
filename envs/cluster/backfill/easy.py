"""Starting jobs in the standing order, and EASY backfilling (Lifka, JSSPP'95; Mu'alem and Feitelson, TPDS 2001).

The first job that does not fit gets a reservation: the earliest time at which it will fit if running jobs end when
expected. A later job may start before it if it fits now and either is expected to end by then, or takes only what the
reservation leaves over (the *extra nodes*).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..pool import Reservation
from ..state import ClusterState

LONG_QUEUE = 24
"""Waiting jobs from which on candidates are sifted as columns rather than one by one."""


def start_heads(state: ClusterState) -> int | None:
    """Start the jobs that stand first for as long as they fit.

    A job whose tenant is at its quota is passed over: its tenant has no claim to more.

    Returns:
        The head: the first job that may run and does not fit; None if there is none.
    """
    waiting, pool, demands = state.waiting, state.pool, state.jobs.demands
    now_s = state.clock.now
    if state.quota is None or state.discipline.follows_starts:
        while len(waiting):
            head = first_within_quota(state, now_s)
            if head is None:
                return None
            allocation = pool.place(demands[head])
            if allocation is None:
                return head
            state.start(head, allocation)
        return None
    # No start changes the order, and none brings a tenant back below its quota: one walk will do.
    for row in state.standing(now_s).tolist():
        if not state.within_quota(row):
            continue
        allocation = pool.place(demands[row])
        if allocation is None:
            return row
        state.start(row, allocation)
    return None


def first_within_quota(state: ClusterState, now_s: float) -> int | None:
    """The job that stands first among those whose tenants are within their quotas."""
    if state.quota is None:
        return state.waiting.first(now_s)
    rows = state.standing(now_s)
    return int(rows[0]) if len(rows) else None


def easy_pass(state: ClusterState) -> None:
    """Start what stands first, then what may go before it."""
    head = start_heads(state)
    if head is None or state.is_full or len(state.waiting) < 2 or state.overdue.passes_spent(state):
        return
    now_s = state.clock.now
    state.running.correct(now_s)
    reservation = reserve_for(state, head, now_s)
    jobs, pool = state.jobs, state.pool
    rows = candidates(state, head, now_s)
    # Wherever it is placed, it has to end by then.
    in_time = now_s + state.expected_all_s(rows) / state.slowest_speed <= reservation.at_s
    kind_of, demands = jobs.kind_of, jobs.demands
    # Starts only take capacity away: what was refused once is refused to all of its kind until something ends.
    refused: set[tuple[int, bool]] = set()
    for row, ends_in_time in zip(rows.tolist(), in_time.tolist(), strict=True):
        kind = (kind_of[row], ends_in_time)
        if kind in refused or not state.within_quota(row):
            continue
        allocation = pool.place(demands[row], None if ends_in_time else reservation)
        if allocation is None:
            refused.add(kind)
            continue
        state.start(row, allocation)
        if state.is_full or state.overdue.passes_spent(state):
            return
        if not ends_in_time:
            # It takes of what the reservation left over.
            reservation = reserve_for(state, head, now_s)


def reserve_for(state: ClusterState, head: int, now_s: float) -> Reservation:
    """The reservation of ``head``; expected ends must have been corrected for ``now_s``."""
    return state.pool.reserve(state.jobs.demands[head], now_s, state.running.releases())


def may_backfill(state: ClusterState, row: int) -> bool:
    """Whether quota and the rule for overdue jobs let ``row`` start before the head; no overdue job may."""
    return state.within_quota(row) and not is_overdue(state, row) and in_turn(state, row)


def in_turn(state: ClusterState, row: int) -> bool:
    """Whether the rule for overdue jobs lets ``row`` start.

    They start in the order of their arrival, and each is passed by at most ``overdue_passes`` later ones.
    """
    if not state.waiting.overdue:
        return True
    if is_overdue(state, row):
        return row == state.overdue.first(state)
    return not state.overdue.passes_spent(state)


def is_overdue(state: ClusterState, row: int) -> bool:
    """Whether the waiting job ``row`` is overdue."""
    limit_s = state.config.wait_limit_s
    return limit_s is not None and state.clock.now - state.jobs.arrival_s[row] > limit_s


def candidates(state: ClusterState, head: int, now_s: float) -> NDArray[np.int64]:
    """Jobs after ``head`` in the standing order that are not larger than what is free, and not overdue.

    Overdue jobs start in the order of their arrival: none of them passes another.
    """
    rest = state.waiting.order(now_s)[len(state.waiting.overdue) :]
    rest = rest[rest != head]
    if state.quota is not None:
        rest = rest[state.within_quotas(rest)]
    if len(rest) < LONG_QUEUE:
        return rest
    return rest[state.jobs.size[rest] <= state.pool.free_size]
