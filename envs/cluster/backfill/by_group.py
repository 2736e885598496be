"""What the standing scheduler starts next where a policy says in which group of machines: in order, or with EASY
backfilling, where a reservation concerns one group only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..group_pool import GroupPool, GroupReservation
from ..state import ClusterState
from .easy import candidates, first_within_quota, may_backfill, reserve_for


def next_by_group(state: ClusterState, pool: GroupPool) -> tuple[int, NDArray[np.bool_]] | None:
    """The next job to start and the groups that may take it, shape (groups,); None if nothing starts."""
    now_s = state.clock.now
    head = first_within_quota(state, now_s) if len(state.waiting) else None
    if head is None:
        return None
    jobs = state.jobs
    mask = pool.groups_that_fit(jobs.demands[head])
    if mask.any():
        return head, mask
    if state.config.backfill != "easy" or state.is_full or len(state.waiting) < 2:
        return None
    rows = candidates(state, head, now_s).tolist()
    kind_of, demands = jobs.kind_of, jobs.demands
    fits: dict[int, list[bool]] = {}
    for row in rows:
        kind = kind_of[row]
        if kind not in fits:
            fits[kind] = pool.groups_that_fit(demands[row]).tolist()
    if not any(map(any, fits.values())):
        return None
    state.running.correct(now_s)
    reservation = reserve_for(state, head, now_s)
    assert isinstance(reservation, GroupReservation)
    beside: dict[int, list[bool]] = {}
    for row in rows:
        kind = kind_of[row]
        if not any(fits[kind]) or not may_backfill(state, row):
            continue
        if kind not in beside:
            beside[kind] = reservation.groups_beside(demands[row]).tolist()
        expected_s = state.expected_s(row)
        groups = zip(fits[kind], beside[kind], pool.speeds, strict=True)
        mask = [fit and (spare or now_s + expected_s / speed <= reservation.at_s) for fit, spare, speed in groups]
        if any(mask):
            return row, np.array(mask)
    return None
