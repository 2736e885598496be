"""Disciplines that score running jobs too: SRTF, and Tiresias's discretised LAS and Gittins index.

Tiresias: Gu et al., NSDI'19. *Service* is run time times size (GPU-seconds). Two queues: jobs start in the first and
drop to the second once their attained service passes a threshold; the first goes before the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline

SECOND_QUEUE = 1e15
"""Added to the scores of the second queue: beyond any arrival time or index of the first."""

HISTORY = 2000
"""Completed jobs whose service the Gittins index is computed from, the latest ones."""

REFRESH = 100
"""Completions after which it is computed anew."""


class ShortestRemainingTimeFirst(QueueDiscipline):
    """By estimated run time less what was attained; a job that has outrun its estimate counts as about to end."""

    name = "srtf"
    needs_estimate = True
    is_static = False
    preempts = True

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        return np.maximum(jobs.estimate_s[rows] - jobs.attained_s[rows], 0.0)


class LeastAttainedService(QueueDiscipline):
    """Two queues by attained service, each first come, first served."""

    name = "las"
    is_static = False
    preempts = True

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        service = jobs.attained_s[rows] * jobs.size[rows]
        return jobs.arrival_s[rows] + np.where(service >= self.threshold, SECOND_QUEUE, 0.0)


class GittinsIndex(QueueDiscipline):
    """Two queues by attained service; in the first by Gittins index, highest first, in the second by arrival.

    The index of a job with attained service a is P(S - a <= d | S > a) / E[min(S - a, d) | S > a], where S is the
    service of completed jobs and d what is left until the threshold: the chance of completing in the first queue per
    unit of service spent on it there. It needs no run times, only the services of jobs that have completed.
    """

    name = "gittins"
    is_static = False
    preempts = True

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._services: list[float] = []
        self._learned = 0
        self._sorted = np.empty(0)
        self._sums = np.zeros(1)

    def fork(self) -> GittinsIndex:
        twin = GittinsIndex(self.threshold)
        twin._services = self._services.copy()
        twin._learned = self._learned
        twin._sorted, twin._sums = self._sorted, self._sums
        return twin

    def learn(self, work: float) -> None:
        self._services.append(work)
        if len(self._services) > HISTORY:
            del self._services[0]
        self._learned += 1
        if self._learned % REFRESH == 0 or self._learned <= 10:
            self._sorted = np.sort(np.array(self._services))
            self._sums = np.concatenate(([0.0], np.cumsum(self._sorted)))

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        service = jobs.attained_s[rows] * jobs.size[rows]
        second = service >= self.threshold
        first_queue = -self._index(service)
        return np.where(second, SECOND_QUEUE + jobs.arrival_s[rows], first_queue)

    def _index(self, service: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(self._sorted)
        above = np.searchsorted(self._sorted, service, side="right")
        within = max(int(np.searchsorted(self._sorted, self.threshold, side="right")), 0)
        alive = n - above
        ending = np.maximum(within - above, 0)
        left = np.maximum(self.threshold - service, 0.0)
        spent = self._sums[np.maximum(within, above)] - self._sums[above] - ending * service + (alive - ending) * left
        # Where no completed job took as much, nothing is known: such a job goes last in the first queue.
        return np.where((alive > 0) & (spent > 0.0), ending / np.maximum(spent, 1e-12), 0.0)
