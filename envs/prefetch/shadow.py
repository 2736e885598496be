"""What each arm would have fetched and foreseen, in shadow: counted beside the cache, whatever arm is in force.

An arm's shadow is a buffer that holds what the tenant accessed, and what the arm suggested, for 512 accesses of the
tenant. A suggestion of what it does not hold is *issued*: it would be a fetch. An access is *covered* when the buffer
holds its id through a suggestion that nothing has used yet. So coverage is never more than what was issued.

A function of the order of accesses alone, hence worked out once a trace; a decision reads differences of running
totals. What stands at a position depends on the accesses before it.

Arms whose suggestions depend on the cache have no shadow, nor have those that know the future: their numbers stay 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace
from .arms import OFF, Arm
from .config import Backing
from .kept import Kept
from .prefetchers import PREFETCHER_TYPES
from .prefetchers.tape import SuggestionTape

HELD: Final = 512
"""Accesses of the tenant for which the buffer holds an id."""

ISSUED, COVERED, LEAD = 0, 1, 2
LEAD_UNIT: Final = 256
"""Leads are counted in this many parts of 1, so that running totals are exact."""

_LEADS: Final = tuple(round(math.log2(max(ago, 1)) * LEAD_UNIT) for ago in range(HELD + 1))
_NEVER: Final = -(1 << 62)
_ALWAYS: Final = 1 << 62

Totals = NDArray[np.int32]
Ints = NDArray[np.int64]


class ShadowStatistics:
    """Running totals of every arm of a menu at every position of every tenant of a trace.

    Attributes:
        first: Row of each tenant's position 0 in `totals`, int64 of shape (tenants,).
        totals: The tenants one below the other, int32 of shape (n + tenants, 3, arms): suggestions issued, accesses
            covered, and the sum over these of log2 of the accesses between suggestion and use (in 1/256). Differences
            over a window are exact even where a total has wrapped around.
        flat: The same as (n + tenants, 3 * arms).
    """

    def __init__(self, trace: AccessTrace, arms: Sequence[Arm], backing: Backing) -> None:
        n, tenants = len(trace), trace.n_tenants
        rows_of = [trace.rows_of_tenant(code) for code in range(tenants)]
        self.first: Ints = np.cumsum([0, *(len(rows) + 1 for rows in rows_of[:-1])])
        self.totals: Totals = np.zeros((n + tenants, 3, len(arms)), dtype=np.int32)
        largest: dict[str, int] = {}
        for arm in arms:
            largest[arm.prefetcher] = max(arm.degree, largest.get(arm.prefetcher, 0))
        unknown = mark_of_unknown(backing)
        for place, arm in enumerate(arms):
            if not has_shadow(arm):
                continue
            tape = SuggestionTape.build(trace, arm.prefetcher, largest[arm.prefetcher]).rows
            for first, rows in zip(self.first.tolist(), rows_of, strict=True):
                suggestions = [tape[row] for row in rows.tolist()]
                counts = watch(trace.key[rows].tolist(), suggestions, arm.degree, unknown, {}, 0)
                block = self.totals[first + 1 : first + 1 + len(rows), :, place]
                np.cumsum(counts, axis=1, dtype=np.int32, out=block.T)
        self.flat: Totals = self.totals.reshape(len(self.totals), -1)

    def continued(self, rows: Sequence[tuple[int, int]], counts: Sequence[NDArray[np.int32]]) -> ShadowStatistics:
        """The totals of another future: of each tenant its ``rows`` [start, stop) of positions, then what is counted.

        ``counts`` are of shape (accesses, 3, arms).
        """
        parts = []
        for first, (start, stop), more in zip(self.first.tolist(), rows, counts, strict=True):
            past = self.totals[first + start : first + stop]
            parts += [past, past[-1] + np.cumsum(more, axis=0, dtype=np.int32)]
        other = copy(self)
        lengths = [stop - start + len(more) for (start, stop), more in zip(rows, counts, strict=True)]
        other.first = np.cumsum([0, *lengths[:-1]], dtype=np.int64) - np.array(
            [start for start, _ in rows], dtype=np.int64
        )
        other.totals = np.concatenate(parts)
        other.flat = other.totals.reshape(len(other.totals), -1)
        return other

    @classmethod
    def build(cls, trace: AccessTrace, arms: Sequence[Arm], backing: Backing) -> ShadowStatistics:
        """The statistics of a trace; the same object again while it is among those asked for last.

        Args:
            trace: All accesses.
            arms: The menu.
            backing: Which ids exist behind the cache: ``all``, or those ``seen`` before; an arm then issues only what
                the tenant itself accessed before.
        """
        slot = (trace.content_hash, trace.tenant_names, tuple(arms), backing)
        return _KEPT.get(slot, lambda: cls(trace, arms, backing))

    def __deepcopy__(self, memo: object) -> ShadowStatistics:
        return self


_KEPT: Final = Kept[ShadowStatistics](8)


def has_shadow(arm: Arm) -> bool:
    """Whether the arm's suggestions follow from past accesses alone."""
    if arm.prefetcher == OFF:
        return False
    kind = PREFETCHER_TYPES[arm.prefetcher]
    return kind.demand_driven and not kind.knows_future


def mark_of_unknown(backing: Backing) -> int:
    """The mark of an id that was never accessed nor issued, for `watch`."""
    return _ALWAYS if backing == "seen" else _NEVER


def forget_old(since: dict[int, int], position: int) -> dict[int, int]:
    """The marks that may still count from ``position`` on, where an id without one counts as not held."""
    old = (position - HELD - 1) << 1
    return {key: mark for key, mark in since.items() if mark >= old}


def watch(
    keys: Sequence[int], suggestions: Sequence[Sequence[int]], degree: int, unknown: int, since: Any, position: int
) -> NDArray[np.int32]:
    """What one arm issues, covers, and how far ahead, at each access of one tenant, shape (3, n).

    Args:
        keys: Ids in the order of access.
        suggestions: What is suggested at each of them.
        degree: How many of these the arm takes.
        unknown: `mark_of_unknown`.
        since: By id: twice the position since which the buffer holds it, plus 1 if that was a suggestion. It is gone on
            with: a dictionary, or what does for one.
        position: Accesses of the tenant before.
    """
    n = len(keys)
    issued, covered, lead = [0] * n, [0] * n, [0] * n
    of = since.get
    for place, (key, suggested) in enumerate(zip(keys, suggestions, strict=True)):
        mark = of(key, 0)
        now = (position + place) << 1
        if mark & 1:
            ago = (now - mark + 1) >> 1
            if ago <= HELD:
                covered[place] = 1
                lead[place] = _LEADS[ago]
        since[key] = now
        if suggested:
            old = now - 2 * HELD + 2  # marks below this one are of HELD accesses ago or longer
            fresh = 0
            for other in suggested[:degree]:
                if of(other, unknown) < old:
                    since[other] = now | 1
                    fresh += 1
            issued[place] = fresh
    return np.array((issued, covered, lead), dtype=np.int32)
