"""Free capacity over time, as promises and expected ends make it."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Profile:
    """Free capacity from now on, constant between its times. Amounts are whole thousandths, so that sums are exact.

    Args:
        now_s: The present.
        free: What is free from now on.
        changes_s: Times, none before the present, at which it changes, in any order.
        changes: By how much.

    Attributes:
        times_s: The present and the times of changes, rising, and +inf at the end, shape (m + 1,).
        free: Free from each of them on, shape (m + 1,).
    """

    def __init__(self, now_s: float, free: int, changes_s: Floats, changes: Ints) -> None:
        order = changes_s.argsort()
        times_s = np.concatenate(((now_s,), changes_s[order], (inf,)))
        levels = np.concatenate(((free,), changes[order], (0,))).cumsum()
        last = np.empty(len(times_s), dtype=bool)
        np.not_equal(times_s[1:], times_s[:-1], out=last[:-1])
        last[-1] = True
        self.times_s: Floats = times_s[last]
        self.free: Ints = levels[last]

    def earliest(self, size: int, duration_s: float, before_s: float = inf, begin_by_s: float = inf) -> float:
        """The earliest time from which ``size`` is free for ``duration_s``; +inf if there is none.

        Args:
            size: How much.
            duration_s: For how long.
            before_s: A time of the profile from which on the asker has that much already: the answer if no earlier time
                will do.
            begin_by_s: It is known that no time from here to ``before_s`` will do.
        """
        times_s, free = self.times_s, self.free
        end = int(times_s.searchsorted(before_s))
        near = int(times_s.searchsorted(begin_by_s)) if begin_by_s < before_s else end
        short = (free[:near] < size).nonzero()[0]
        # Gaps begin at the present and after each time at which too little is free, and end at the next such time.
        begins_s = np.empty(len(short) + 1)
        begins_s[0] = times_s[0]
        begins_s[1:] = times_s[short + 1]
        ends_s = np.empty(len(short) + 1)
        ends_s[:-1] = times_s[short]
        ends_s[-1] = self._next_short_s(near, end, size)
        fits = (ends_s >= begins_s + duration_s) & (ends_s > begins_s)
        first = int(fits.argmax())
        return float(begins_s[first]) if fits[first] else before_s

    def _next_short_s(self, start: int, end: int, size: int) -> float:
        """The first time among those numbered ``start`` to ``end`` at which less than ``size`` is free, or +inf."""
        if start >= end:
            return inf
        short = self.free[start:end] < size
        first = int(short.argmax())
        return float(self.times_s[start + first]) if short[first] else inf

    def fits_at(self, start_s: float, duration_s: float, size: int) -> bool:
        """Whether ``size`` is free for ``duration_s`` from ``start_s`` on, which is not before the present."""
        first = int(self.times_s.searchsorted(start_s, side="right")) - 1
        last = int(self.times_s.searchsorted(start_s + duration_s))
        return bool((self.free[first:last] >= size).all())

    def most_between(self, start_s: float, end_s: float) -> int:
        """The most that is free at any time of [start_s, end_s); -1 where that is empty."""
        first = max(int(self.times_s.searchsorted(start_s, side="right")) - 1, 0)
        last = int(self.times_s.searchsorted(end_s))
        return int(self.free[first:last].max(initial=-1))

    def take(self, start_s: float, duration_s: float, size: int) -> None:
        """Take ``size`` away in [start_s, start_s + duration_s); a negative size gives back."""
        first = self._cut(start_s)
        last = self._cut(start_s + duration_s)
        self.free[first:last] -= size

    def _cut(self, at_s: float) -> int:
        times_s, free = self.times_s, self.free
        i = int(times_s.searchsorted(at_s))
        if times_s[i] != at_s:
            self.times_s = np.concatenate((times_s[:i], (at_s,), times_s[i:]))
            self.free = np.concatenate((free[:i], free[i - 1 : i], free[i:]))
        return i
