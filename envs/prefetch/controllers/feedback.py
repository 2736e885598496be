"""How much to prefetch, by how prefetches fared.

Srinath, Mutlu, Kim and Patt, "Feedback Directed Prefetching: Improving the Performance and Bandwidth-Efficiency of
Hardware Prefetchers", HPCA'07.
"""

from __future__ import annotations

from ..arms import Arm
from ..config import FeedbackConfig
from .base import Controller, IntervalStats

_HIGH, _MEDIUM, _LOW = "high", "medium", "low"

STEPS: dict[tuple[str, bool, bool], int] = {
    (_HIGH, True, False): +1,
    (_HIGH, True, True): +1,
    (_HIGH, False, False): 0,
    (_HIGH, False, True): -1,
    (_MEDIUM, True, False): +1,
    (_MEDIUM, True, True): -1,
    (_MEDIUM, False, False): 0,
    (_MEDIUM, False, True): -1,
    (_LOW, True, False): -1,
    (_LOW, True, True): -1,
    (_LOW, False, False): 0,
    (_LOW, False, True): -1,
}
"""The paper's table of twelve cases: (accuracy, late, polluting) to a step on the ladder."""


class FeedbackController(Controller):
    """One prefetcher on a ladder of degrees; one step up, down or none after each interval.

    Counters are smoothed as in the paper: half of the old value plus half of the interval's. From them accuracy = used
    over issued, lateness = late over used, pollution = polluted over demand misses, where *used* has the late ones in
    it. An interval in which nothing was issued changes the counters and moves nothing: it says nothing of the degree.
    (The paper ends an interval after so many evictions, which such a stretch has not.)
    """

    name = "feedback"

    def __init__(self, prefetcher: str, config: FeedbackConfig) -> None:
        super().__init__(tuple(Arm(prefetcher, degree) for degree in config.degrees))
        self._config = config
        self._place = config.start
        self._issued = self._used = self._late = self._polluted = self._misses = 0.0

    def choose(self, seen: IntervalStats | None) -> int:
        if seen is not None:
            self._smooth(seen)
            if seen.issued > 0:
                self._place = min(max(self._place + STEPS[self._case()], 0), len(self.ladder) - 1)
        return self._place

    def _smooth(self, seen: IntervalStats) -> None:
        self._issued = (self._issued + seen.issued) / 2
        self._used = (self._used + seen.useful + seen.late) / 2
        self._late = (self._late + seen.late) / 2
        self._polluted = (self._polluted + seen.polluted) / 2
        self._misses = (self._misses + seen.misses) / 2

    def _case(self) -> tuple[str, bool, bool]:
        limits = self._config
        accuracy = self._used / self._issued
        grade = _HIGH if accuracy >= limits.high_accuracy else _LOW if accuracy < limits.low_accuracy else _MEDIUM
        late = self._used > 0 and self._late / self._used > limits.lateness
        polluting = self._misses > 0 and self._polluted / self._misses > limits.pollution
        return grade, late, polluting
