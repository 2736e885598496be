"""What sensor faults do to observations and outcome signals. One object serves one run, called in order of time.

Observations are spoiled in their telemetry alone, within the fields' bounds; the legal actions (``up``) and own books
stay true. Where tenants decide in turn, reports are kept in one row: a stale report may be another tenant's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...policies import Feedback, OutcomeSignal
from .telemetry import Telemetry

Floats32 = NDArray[np.float32]


class _Timed:
    """Acts within [start_s, end_s) only, and passes on all else."""

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s = start_s
        self.end_s = end_s

    def acts(self, now_s: float) -> bool:
        return self.start_s <= now_s < self.end_s

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation as it is."""
        return observation

    def hear(self, feedback: Feedback) -> Feedback:
        """The feedback as it is."""
        return feedback


class Delayed(_Timed):
    """Reports of an earlier time: ``age_s`` ago, or from clocks that run at ``speed`` from the onset on."""

    def __init__(
        self, telemetry: Telemetry, start_s: float, end_s: float, *, age_s: float = 0.0, speed: float = 1.0
    ) -> None:
        super().__init__(start_s, end_s)
        self._positions = telemetry.positions
        self._age_s = age_s
        self._speed = speed
        self._past: deque[tuple[float, Floats32]] = deque()

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation with the telemetry of the latest decision that is old enough (else of the oldest kept)."""
        if now_s >= self.end_s:
            self._past.clear()
            return observation
        self._past.append((now_s, observation[self._positions]))
        acting = now_s >= self.start_s
        lag_s = (1.0 - self._speed) * max(now_s - self.start_s, 0.0)
        wanted_s = now_s - self._age_s - lag_s
        while len(self._past) > 1 and self._past[1][0] <= wanted_s:
            self._past.popleft()
        if not acting:
            return observation
        out = observation.copy()
        out[self._positions] = self._past[0][1]
        return out


class Frozen(_Timed):
    """The reports of the first decision within the window, again and again."""

    def __init__(self, telemetry: Telemetry, start_s: float, end_s: float) -> None:
        super().__init__(start_s, end_s)
        self._positions = telemetry.positions
        self._kept: Floats32 | None = None

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation with the frozen telemetry."""
        if not self.acts(now_s):
            return observation
        if self._kept is None:
            self._kept = observation[self._positions]
        out = observation.copy()
        out[self._positions] = self._kept
        return out


class Missing(_Timed):
    """No reports: as a gateway shows it, the last value until it expires after ``hold_s``, then 0."""

    def __init__(self, telemetry: Telemetry, start_s: float, end_s: float, hold_s: float) -> None:
        super().__init__(start_s, end_s)
        self._positions = telemetry.positions
        self._empty = np.clip(np.zeros(len(telemetry.low), np.float32), telemetry.low, telemetry.high)
        self._hold_s = hold_s
        self._last: Floats32 | None = None

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation with the last telemetry before the window, then with none."""
        if not self.acts(now_s):
            if now_s < self.start_s:
                self._last = observation[self._positions]
            return observation
        held = self._last is not None and now_s < self.start_s + self._hold_s
        out = observation.copy()
        out[self._positions] = self._last if held else self._empty
        return out


class Noisy(_Timed):
    """Each report times a log-normal factor of median 1, drawn anew at each decision."""

    def __init__(
        self, telemetry: Telemetry, start_s: float, end_s: float, sigma: float, rng: np.random.Generator
    ) -> None:
        super().__init__(start_s, end_s)
        self._telemetry = telemetry
        self._sigma = sigma
        self._rng = rng

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation with noise on its telemetry."""
        if not self.acts(now_s):
            return observation
        where = self._telemetry
        factors = np.exp(self._sigma * self._rng.standard_normal(len(where.positions)))
        out = observation.copy()
        out[where.positions] = np.clip(observation[where.positions] * factors, where.low, where.high)
        return out


class Inverted(_Timed):
    """Each replica field mirrored: the replica with the least reports the most, the second least the second most.

    Among replicas that report anything; global fields stay.
    """

    def __init__(self, telemetry: Telemetry, start_s: float, end_s: float) -> None:
        super().__init__(start_s, end_s)
        self._fields = telemetry.per_replica

    def observe(self, observation: Floats32, now_s: float) -> Floats32:
        """The observation with its replicas' reports mirrored."""
        if not self.acts(now_s):
            return observation
        out = observation.copy()
        values = observation[self._fields]
        here = np.flatnonzero(values.any(axis=0))
        for field, own in zip(self._fields, values[:, here], strict=True):
            order = np.argsort(own, kind="stable")
            out[field[here[order]]] = own[order[::-1]]
        return out


class OutcomesDelayed(_Timed):
    """Outcomes that become known within the window are heard ``lag_s`` later, or when the window ends."""

    def __init__(self, start_s: float, end_s: float, lag_s: float) -> None:
        super().__init__(start_s, end_s)
        self._lag_s = lag_s
        self._held: deque[tuple[float, OutcomeSignal]] = deque()

    def hear(self, feedback: Feedback) -> Feedback:
        """The feedback with the outcomes that are due."""
        now_s = feedback.now_s
        if self.acts(now_s):
            self._held.extend((now_s + self._lag_s, outcome) for outcome in feedback.outcomes)
            fresh: tuple[OutcomeSignal, ...] = ()
        elif not self._held:
            return feedback
        else:
            fresh = tuple(feedback.outcomes)
        due: list[OutcomeSignal] = []
        while self._held and (now_s >= self.end_s or self._held[0][0] <= now_s):
            due.append(self._held.popleft()[1])
        return replace(feedback, outcomes=(*due, *fresh))


class OutcomesMissing(_Timed):
    """Outcomes that become known within the window are never heard of."""

    def hear(self, feedback: Feedback) -> Feedback:
        """The feedback without outcomes."""
        return replace(feedback, outcomes=()) if self.acts(feedback.now_s) else feedback


class OutcomesInverted(_Timed):
    """What violated its objective within the window is said to have met it, and the reverse."""

    def hear(self, feedback: Feedback) -> Feedback:
        """The feedback with the violations turned around."""
        if not self.acts(feedback.now_s):
            return feedback
        turned = tuple(replace(outcome, violated=not outcome.violated) for outcome in feedback.outcomes)
        return replace(feedback, outcomes=turned)
