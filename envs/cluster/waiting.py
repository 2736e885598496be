"""The waiting jobs in their standing order: overdue ones first come, first served, then as the discipline says."""

from __future__ import annotations

import copy
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .disciplines import QueueDiscipline
from .jobs import ByRow, JobTable


class _Keys(dict[int, float]):
    """Scores of jobs under a static discipline, worked out when they are asked for."""

    def __init__(self, discipline: QueueDiscipline, jobs: JobTable) -> None:
        super().__init__()
        self._discipline = discipline
        self._jobs = jobs

    def __missing__(self, row: int) -> float:
        key = self[row] = float(self._discipline.scores(self._jobs, np.array([row]), 0.0)[0])
        return key


class WaitingJobs:
    """Waiting rows, kept sorted under a static discipline, sorted when asked for under another.

    A job is *overdue* once it has waited for longer than ``wait_limit_s``. Overdue jobs stand in their order of
    arrival, and before all others.

    Attributes:
        overdue: Rows of the overdue jobs, rising.
        kinds: How many jobs of each kind of demand wait (`jobs.JobTable.kind_of`).
    """

    def __init__(self, jobs: JobTable, discipline: QueueDiscipline, wait_limit_s: float | None) -> None:
        self._jobs = jobs
        self._discipline = discipline
        self._limit_s = wait_limit_s
        self._arrival_of = jobs.arrival_of
        self._static = discipline.is_static
        self._keys = array("d")
        self._rows = array("q")
        self._by_arrival = array("q")  # of those not overdue; kept where there is a wait limit only
        self.overdue = array("q")
        self.area = 0.0
        self.kinds: dict[int, int] = {}
        self._kind_of = jobs.kind_of
        known = self._static and jobs.predictor is None
        every = np.arange(jobs.n)
        self._known_keys: ByRow[float] | None = discipline.scores(jobs, every, 0.0).tolist() if known else None

    def fork(self, jobs: JobTable, discipline: QueueDiscipline) -> WaitingJobs:
        """The queue of a forked replay, over its jobs and discipline."""
        twin = copy.copy(self)
        twin._jobs = jobs
        twin._discipline = discipline
        twin._keys = self._keys[:]
        twin._rows = self._rows[:]
        twin._by_arrival = self._by_arrival[:]
        twin.overdue = self.overdue[:]
        twin.kinds = self.kinds.copy()
        return twin

    def take_table(self, jobs: JobTable) -> None:
        """Go on with a table that holds the waiting jobs alone, unchanged, and later ones."""
        self._jobs = jobs
        self._arrival_of = jobs.arrival_of
        self._kind_of = jobs.kind_of
        if self._known_keys is not None:
            self._known_keys = _Keys(self._discipline, jobs)

    def __len__(self) -> int:
        return len(self._rows) + len(self.overdue)

    def add(self, row: int, now_s: float) -> None:
        """Put a job into the queue."""
        kind = self._kind_of[row]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if not self._static:
            place = bisect_left(self._rows, row)
            self._rows.insert(place, row)
        else:
            key = self._known_keys[row] if self._known_keys is not None else self._key(row, now_s)
            self._insert(row, key)
        if self._limit_s is not None:
            self._by_arrival.insert(bisect_left(self._by_arrival, row), row)

    def _key(self, row: int, now_s: float) -> float:
        return float(self._discipline.scores(self._jobs, np.array([row]), now_s)[0])

    def _insert(self, row: int, key: float) -> None:
        keys, rows = self._keys, self._rows
        place = bisect_right(keys, key)
        # Among equal keys the rows rise; a job that comes back from a failure may belong further to the front.
        while place > 0 and keys[place - 1] == key and rows[place - 1] > row:
            place -= 1
        keys.insert(place, key)
        rows.insert(place, row)

    def remove(self, row: int) -> None:
        """Take a job out of the queue."""
        kind = self._kind_of[row]
        if self.kinds[kind] == 1:
            del self.kinds[kind]
        else:
            self.kinds[kind] -= 1
        overdue = self.overdue
        if overdue:
            i = bisect_left(overdue, row)
            if i < len(overdue) and overdue[i] == row:
                del overdue[i]
                return
        self._take_out(row)
        if self._limit_s is not None:
            del self._by_arrival[bisect_left(self._by_arrival, row)]

    def _take_out(self, row: int) -> None:
        rows = self._rows
        if not self._static:
            del rows[bisect_left(rows, row)]
            return
        if rows[0] == row:
            place = 0
        elif self._known_keys is not None:
            place = bisect_left(self._keys, self._known_keys[row])
            while rows[place] != row:
                place += 1
        else:
            place = rows.index(row)
        del rows[place]
        del self._keys[place]

    def promote(self, now_s: float) -> list[int]:
        """Move what has become overdue by ``now_s`` to the front; which jobs that were."""
        limit_s = self._limit_s
        if limit_s is None:
            return []
        arrival_s, waiting = self._arrival_of, self._by_arrival
        if not waiting or now_s - arrival_s[waiting[0]] <= limit_s:
            return []
        n = 0
        while n < len(waiting) and now_s - arrival_s[waiting[n]] > limit_s:
            n += 1
        promoted = waiting[:n].tolist()
        for row in promoted:
            self._take_out(row)
            self.overdue.insert(bisect_left(self.overdue, row), row)
        del waiting[:n]
        return promoted

    def first(self, now_s: float) -> int:
        """The row that stands first; there must be one."""
        if self.overdue:
            return self.overdue[0]
        return self._rows[0] if self._static else int(self._ordered(now_s)[0])

    def order(self, now_s: float) -> NDArray[np.int64]:
        """All rows in their standing order: a fresh array."""
        rest = np.array(self._rows, dtype=np.int64) if self._static else self._ordered(now_s)
        return np.concatenate((np.array(self.overdue, dtype=np.int64), rest)) if self.overdue else rest

    def _ordered(self, now_s: float) -> NDArray[np.int64]:
        rows = np.array(self._rows, dtype=np.int64)
        return rows[np.argsort(self._discipline.scores(self._jobs, rows, now_s), kind="stable")]

    def first_rows(self, n: int, now_s: float) -> NDArray[np.int64]:
        """The first ``n`` rows in the standing order: a fresh array."""
        if self.overdue or not self._static:
            return self.order(now_s)[:n]
        return np.array(self._rows[:n], dtype=np.int64)

    def by_arrival(self) -> NDArray[np.int64]:
        """All rows in the order of the trace: a fresh array."""
        rows = np.array(self._rows, dtype=np.int64)
        return np.sort(np.concatenate((rows, np.array(self.overdue, dtype=np.int64))))

    def __iter__(self) -> Iterator[int]:
        yield from self.overdue
        yield from self._rows
