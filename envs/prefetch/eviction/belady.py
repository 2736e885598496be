"""Belady's MIN: the rule that knows the future (Belady, IBM Systems Journal 5(2), 1966)."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush

import numpy as np

from ....traces import AccessTrace
from .base import EvictionCache


class FutureRows:
    """When each id is accessed: never changed, so that copies of a cache share it.

    Args:
        key: (rows,) ids in order of access.
        next_row: (rows,) row of the next access to the same id, -1 for none.
        first: What row 0 of both is called.
    """

    def __init__(self, key: np.ndarray, next_row: np.ndarray, first: int = 0) -> None:
        self._first = first
        self.never = first + len(key)
        self._next_row: list[int] = np.where(next_row < 0, self.never, first + next_row).tolist()
        order = np.argsort(key, kind="stable")
        ids, starts = np.unique(key[order], return_index=True)
        ends = [*starts[1:].tolist(), len(key)]
        self._rows: list[int] = (first + order).tolist()
        self._span = dict(zip(ids.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))

    def next_row(self, row: int) -> int:
        """Row of the next access to the id that is accessed at ``row``, or `never`."""
        return self._next_row[row - self._first]

    def after(self, key: int, row: int) -> int:
        """Row of the first access to an id after ``row``, or `never`."""
        start, end = self._span.get(key, (0, 0))
        place = bisect_right(self._rows, row, start, end)
        return self._rows[place] if place < end else self.never

    def __deepcopy__(self, memo: dict[int, object]) -> FutureRows:
        return self


class Belady(EvictionCache):
    """Evicts what is accessed again last; among what never is, the lowest id.

    An oracle: it gives the fewest misses where objects count one each and nothing is prefetched.

    Args:
        capacity: Units that it holds.
        future: The trace's accesses; `at` gives the present place in it.
    """

    name = "belady"
    needs_rows = True

    def __init__(self, capacity: int, future: FutureRows) -> None:
        super().__init__(capacity)
        self._future = future
        self._row = -1
        self._sizes: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._last: list[tuple[int, int]] = []
        """Heap of (minus the next row, id), with entries that are out of date."""

    def continue_with(self, first_row: int, trace: AccessTrace) -> None:
        self._future = FutureRows(trace.key, trace.next_row, first_row)
        self._row = first_row - 1
        self._next = {key: self._future.after(key, self._row) for key in self._sizes}
        self._last = [(-row, key) for key, row in self._next.items()]
        heapify(self._last)

    def at(self, row: int) -> None:
        self._row = row

    def touch(self, key: int) -> bool:
        if key not in self._sizes:
            return False
        self._expect(key, self._future.next_row(self._row))
        return True

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        if size > self.capacity:
            return (key,)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            evicted += (self._evict(),)
        self._sizes[key] = size
        self.used += size
        self._expect(key, self._future.after(key, self._row))
        return evicted

    def _expect(self, key: int, row: int) -> None:
        """The next access to an object that is there."""
        self._next[key] = row
        heappush(self._last, (-row, key))
        if len(self._last) > 2 * len(self._sizes) + 64:
            self._last = [(-row, key) for key, row in self._next.items()]
            heapify(self._last)

    def _evict(self) -> int:
        while True:
            minus_row, key = heappop(self._last)
            if self._next.get(key) == -minus_row:
                self.remove(key)
                return key

    def remove(self, key: int) -> None:
        del self._next[key]
        self.used -= self._sizes.pop(key)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)
