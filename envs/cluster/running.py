"""The running jobs, and when they are expected to end."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jobs import ByRow, JobTable
from .pool import Release

ENDS_FINISHED, ENDS_FAILED, ENDS_KILLED = 0, 1, 2
"""How an attempt will end if nothing comes between; known to the simulator alone."""


class Attempt:
    """One run of a job on machines.

    Attributes:
        row: The job.
        started_s: When it took its machines.
        allocation: What it took.
        rate: Work done a second: the machines' speed, less for a straggler.
        overhead_s: Seconds at the start in which no work is done (restoring a checkpoint).
        ending: How it ends, one of ``ENDS_...``.
        expected_s: Seconds that the scheduler expects it to take.
        expected_end_s: When the scheduler expects it to end; moved on when it has passed.
        serial: Number of the attempt, in the order of the starts.
        alive: False once something ended it before its time.
        alarm: The clock's event of its end; None where it never ends.
        retimed: When its rate last changed and the work done by then; None if it never did.
    """

    __slots__ = (
        "_at_end",
        "alarm",
        "alive",
        "allocation",
        "ending",
        "expected_end_s",
        "expected_s",
        "overhead_s",
        "rate",
        "retimed",
        "row",
        "serial",
        "started_s",
    )

    def __init__(
        self,
        row: int,
        started_s: float,
        allocation: Any,
        rate: float,
        overhead_s: float,
        ending: int,
        expected_s: float,
        serial: int,
        at_end: Callable[[Attempt], None],
    ) -> None:
        self.row = row
        self.started_s = started_s
        self.allocation = allocation
        self.rate = rate
        self.overhead_s = overhead_s
        self.ending = ending
        self.expected_s = expected_s
        self.expected_end_s = started_s + expected_s
        self.serial = serial
        self.alive = True
        self.alarm: Any = None
        self.retimed: tuple[float, float] | None = None
        self._at_end = at_end

    def fork(self, at_end: Callable[[Attempt], None]) -> Attempt:
        """The same attempt in a forked replay; its alarm is still to be set."""
        twin = object.__new__(Attempt)
        twin.row = self.row
        twin.started_s = self.started_s
        twin.allocation = self.allocation
        twin.rate = self.rate
        twin.overhead_s = self.overhead_s
        twin.ending = self.ending
        twin.expected_s = self.expected_s
        twin.expected_end_s = self.expected_end_s
        twin.serial = self.serial
        twin.alive = self.alive
        twin.alarm = None
        twin.retimed = self.retimed
        twin._at_end = at_end
        return twin

    def ended(self, event: object) -> None:
        """Called by the clock when the attempt has run its course."""
        self._at_end(self)

    def worked_s(self, now_s: float) -> float:
        """Work done by ``now_s``, in seconds on a machine of speed 1."""
        if self.retimed is None:
            return max(now_s - self.started_s - self.overhead_s, 0.0) * self.rate
        since_s, worked_s = self.retimed
        return worked_s + max(now_s - max(since_s, self.started_s + self.overhead_s), 0.0) * self.rate


class RunningJobs:
    """Attempts by row, and sorted by expected end."""

    def __init__(self, size_of: ByRow[float]) -> None:
        self.by_row: dict[int, Attempt] = {}
        self._size_of = size_of
        self._ends: list[tuple[float, int, int]] = []  # expected end, serial, row
        self._end_s = array("d")
        self._sizes = array("d")
        self._releases: list[Release] = []

    def __len__(self) -> int:
        return len(self.by_row)

    def fork(self, at_end: Callable[[Attempt], None]) -> RunningJobs:
        """The running jobs of a forked replay."""
        twin = RunningJobs(self._size_of)
        twin.by_row = {row: attempt.fork(at_end) for row, attempt in self.by_row.items()}
        twin._ends = self._ends[:]
        twin._end_s = self._end_s[:]
        twin._sizes = self._sizes[:]
        twin._releases = self._releases[:]
        return twin

    def take_table(self, jobs: JobTable) -> None:
        """Go on with another table, in which the running jobs are the same."""
        self._size_of = jobs.size_of

    def add(self, attempt: Attempt) -> None:
        """Take in an attempt that starts."""
        self.by_row[attempt.row] = attempt
        self._insert((attempt.expected_end_s, attempt.serial, attempt.row))

    def _insert(self, entry: tuple[float, int, int]) -> None:
        place = bisect_left(self._ends, entry)
        self._ends.insert(place, entry)
        self._end_s.insert(place, entry[0])
        self._sizes.insert(place, self._size_of[entry[2]])
        self._releases.insert(place, (entry[0], self.by_row[entry[2]].allocation))

    def remove(self, attempt: Attempt) -> None:
        """Take out an attempt that is over."""
        del self.by_row[attempt.row]
        place = bisect_left(self._ends, (attempt.expected_end_s, attempt.serial, attempt.row))
        del self._ends[place]
        del self._end_s[place]
        del self._sizes[place]
        del self._releases[place]

    def correct(self, now_s: float) -> bool:
        """Move on expected ends that have passed: the expected duration doubles until it has not.

        Returns:
            Whether any was moved.
        """
        ends = self._ends
        late = bisect_left(ends, (now_s, inf, 0))  # those at now_s itself are late too: their ends were handled
        if late == 0:
            return False
        outrun = ends[:late]
        del ends[:late]
        del self._end_s[:late]
        del self._sizes[:late]
        del self._releases[:late]
        for _, serial, row in outrun:
            attempt = self.by_row[row]
            expected_s = max(attempt.expected_s, 1.0)
            while attempt.started_s + expected_s <= now_s:
                expected_s *= 2.0
            attempt.expected_s = expected_s
            attempt.expected_end_s = attempt.started_s + expected_s
            self._insert((attempt.expected_end_s, serial, row))
        return True

    def releases(self) -> list[Release]:
        """(expected end, allocation) of all running jobs, by expected end; not to be kept or written to."""
        return self._releases

    def profile(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected ends, rising, and the sizes that come free at each, as fresh arrays."""
        return np.array(self._end_s), np.array(self._sizes)

    def expected_rows(self) -> list[tuple[float, int]]:
        """(expected end, row) of all running jobs, by expected end."""
        return [(end_s, row) for end_s, _, row in self._ends]
