"""Work that arrives, over the cluster's size, exponentially weighted: what observers show as the load."""

from __future__ import annotations

from copy import copy
from math import exp

from .jobs import JobTable

SPAN_S = 6 * 3600.0
"""Time constant of the weights."""


class ArrivingLoad:
    """Estimated GPU-seconds (processor-seconds) that arrive a second and GPU (processor)."""

    def __init__(self, jobs: JobTable, size: float) -> None:
        self._jobs = jobs
        self._scale = 1.0 / (size * SPAN_S)
        self._load = 0.0
        self._at_s = 0.0

    def fork(self, jobs: JobTable) -> ArrivingLoad:
        """The same load, of a forked replay's jobs."""
        twin = copy(self)
        twin._jobs = jobs
        return twin

    def add(self, row: int) -> None:
        """Job ``row`` has arrived; in the order of arrival."""
        jobs = self._jobs
        at_s = jobs.arrival_of[row]
        work = float(jobs.estimate_s[row]) * jobs.size_of[row]
        self._load = self._load * exp((self._at_s - at_s) / SPAN_S) + work * self._scale
        self._at_s = at_s

    def at(self, now_s: float) -> float:
        """The load at ``now_s``, not before the last arrival."""
        return self._load * exp((self._at_s - now_s) / SPAN_S)
