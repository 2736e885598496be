"""What a schedule costs, counted while it runs: rewards that add up exactly to a metric of the result columns.

Costs use true run times. They are the trainer's signal, never part of an observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

from ...traces import JobTrace

HOUR_S = 3600.0

SHORT_JOB_S = 10.0
"""Run times below count as this in the bounded slowdown (Feitelson et al., JSSPP'97)."""


class CostMeter(ABC):
    """A sum over jobs that grows with time; the state tells it what happens to them. Each change costs O(1).

    Args:
        trace: The jobs.
        first_row: Jobs before this row cost nothing.
    """

    def __init__(self, trace: JobTrace, first_row: int = 0) -> None:
        self._arrival_s: list[float] = trace.arrival_s.tolist()
        self._first = first_row
        self._at_s = 0.0
        self._total = 0.0

    def fork(self) -> Self:
        """The meter of a forked replay."""
        return copy(self)

    def total(self, now_s: float) -> float:
        """The cost of all that happened by ``now_s``, which must not go back."""
        if now_s > self._at_s:
            self._total += self._accrued(self._at_s, now_s)
            self._at_s = now_s
        return self._total

    def queued(self, row: int, now_s: float) -> None:
        """Job ``row`` joins the queue, for the first time or after losing its machines."""
        if row >= self._first:
            self.total(now_s)
            self._queued(row, now_s)

    def started(self, row: int, now_s: float) -> None:
        """Job ``row`` takes machines."""
        if row >= self._first:
            self.total(now_s)
            self._started(row, now_s)

    def ended(self, row: int, now_s: float) -> None:
        """Job ``row`` ended for good: finished, given up, or killed."""
        if row >= self._first:
            self.total(now_s)
            self._ended(row, now_s)

    @abstractmethod
    def _accrued(self, from_s: float, to_s: float) -> float:
        """What nothing but time adds between two events."""

    @abstractmethod
    def _queued(self, row: int, now_s: float) -> None: ...

    @abstractmethod
    def _started(self, row: int, now_s: float) -> None: ...

    @abstractmethod
    def _ended(self, row: int, now_s: float) -> None: ...


class _Waiting(CostMeter):
    """Keeps since when each waiting job would have waited, had it waited in one piece."""

    def __init__(self, trace: JobTrace, first_row: int = 0) -> None:
        super().__init__(trace, first_row)
        self._waiting = 0
        self._since_s: dict[int, float] = {}  # of waiting jobs
        self._waited_s: dict[int, float] = {}  # of jobs that took machines and have not ended

    def fork(self) -> Self:
        twin = copy(self)
        twin._since_s = self._since_s.copy()
        twin._waited_s = self._waited_s.copy()
        return twin

    def _queued(self, row: int, now_s: float) -> None:
        self._waiting += 1
        self._since_s[row] = now_s - self._waited_s.get(row, 0.0)

    def _started(self, row: int, now_s: float) -> None:
        self._waiting -= 1
        self._waited_s[row] = now_s - self._since_s.pop(row)


class SlowdownCost(_Waiting):
    """Sum of bounded slowdowns, ``max(1, jct / max(run, 10 s))``.

    A waiting job costs 1 / max(run, 10 s) a second. When a job ends, what its waits do not account for is added: the 1
    of a job that never waits, slower machines, lost work.
    """

    def __init__(self, trace: JobTrace, first_row: int = 0) -> None:
        super().__init__(trace, first_row)
        self._rate_of = [1.0 / max(run_s, SHORT_JOB_S) for run_s in trace.run_s.tolist()]
        self._rate = 0.0

    def _accrued(self, from_s: float, to_s: float) -> float:
        return self._rate * (to_s - from_s)

    def _queued(self, row: int, now_s: float) -> None:
        super()._queued(row, now_s)
        self._rate += self._rate_of[row]

    def _started(self, row: int, now_s: float) -> None:
        super()._started(row, now_s)
        # A sum that is built up and taken down drifts; an empty queue costs nothing, exactly.
        self._rate = self._rate - self._rate_of[row] if self._waiting else 0.0

    def _ended(self, row: int, now_s: float) -> None:
        rate = self._rate_of[row]
        self._total += max(1.0, (now_s - self._arrival_s[row]) * rate) - self._waited_s.pop(row) * rate


class WaitTailCost(_Waiting):
    """Sum of squared waits [h2]: the last hour of a long wait costs more than the first.

    n jobs that wait since a_1 ... a_n add (t1 - t0) (n (t0 + t1) - 2 sum a) from t0 to t1.
    """

    def __init__(self, trace: JobTrace, first_row: int = 0) -> None:
        super().__init__(trace, first_row)
        self._sum_since_s = 0.0

    def _accrued(self, from_s: float, to_s: float) -> float:
        span_s = to_s - from_s
        return span_s * (self._waiting * (from_s + to_s) - 2.0 * self._sum_since_s) / HOUR_S**2

    def _queued(self, row: int, now_s: float) -> None:
        super()._queued(row, now_s)
        self._sum_since_s += self._since_s[row]

    def _started(self, row: int, now_s: float) -> None:
        since_s = self._since_s[row]
        super()._started(row, now_s)
        self._sum_since_s = self._sum_since_s - since_s if self._waiting else 0.0

    def _ended(self, row: int, now_s: float) -> None:
        del self._waited_s[row]


class CompletionCost(CostMeter):
    """Sum of times from arrival to end [h]: each job that has arrived and not ended costs one a unit of time."""

    def __init__(self, trace: JobTrace, first_row: int = 0) -> None:
        super().__init__(trace, first_row)
        self._inside: set[int] = set()

    def fork(self) -> Self:
        twin = copy(self)
        twin._inside = self._inside.copy()
        return twin

    def _accrued(self, from_s: float, to_s: float) -> float:
        return len(self._inside) * (to_s - from_s) / HOUR_S

    def _queued(self, row: int, now_s: float) -> None:
        self._inside.add(row)

    def _started(self, row: int, now_s: float) -> None:
        pass

    def _ended(self, row: int, now_s: float) -> None:
        self._inside.discard(row)


COSTS: dict[str, type[CostMeter]] = {
    "bounded_slowdown": SlowdownCost,
    "wait_tail": WaitTailCost,
    "jct": CompletionCost,
}
"""By the name of the reward."""
