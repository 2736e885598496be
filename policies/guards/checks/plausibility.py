"""The plausibility check: telemetry that cannot be true is not to be decided on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import Stage
from .plausibility_config import PlausibilityConfig
from .positions import positions

Finding = tuple[str, tuple[tuple[str, float], ...]]
"""Reason code and evidence."""


class PlausibilityCheck:
    """Objects to telemetry that stands still, leaves its bounds or contradicts what is known without it.

    What the layout forbids (a value that is no number, or out of the field's bounds) is objected to at once. The rest
    can be true for a moment, so it must last: ``implausible_decisions`` decisions and ``implausible_s`` seconds until
    it objects, ``plausible_decisions`` decisions until it is quiet. Decisions at one and the same moment count once.

    *Frozen*: all telemetry fields stand bit for bit as they stood, though time and own counts moved. A system that is
    idle (own counts or telemetry all 0) may stand still for ever; the watch then starts anew.

    Reason codes: ``telemetry-not-finite``, ``telemetry-out-of-bounds``, ``telemetry-frozen``,
    ``telemetry-against-own-books``, ``telemetry-out-of-range``.
    """

    name = "plausibility"
    stage: Stage = "sensors"
    cost_us = 10.0
    fault = False

    def __init__(self, config: PlausibilityConfig, layout: Layout) -> None:
        self._config = config
        self._accept = accepted_by(self.name)
        self._low, self._high = layout.low, layout.high
        self._telemetry = positions(layout, config.telemetry_fields)
        self._own = positions(layout, config.own_fields)
        self._reported = [positions(layout, [field]) for field in config.reported_fields]
        self._booked = positions(layout, [config.booked_field] if config.booked_field else [])
        self._mean_reported: NDArray[np.float64] | None = None
        self._mean_booked = np.zeros(0)
        self._ranged: NDArray[np.intp] | None = None
        if config.range_low:
            self._ranged = positions(layout, config.range_fields)
            sizes = [positions(layout, [field]).size for field in config.range_fields]
            low, high = np.array(config.range_low), np.array(config.range_high)
            reach = config.range_margin * (high - low)
            self._range_low, self._range_high = np.repeat(low - reach, sizes), np.repeat(high + reach, sizes)
        self._last_s: float | None = None
        self._still: bytes | None = None
        self._own_before = b""
        self._still_since_s = 0.0
        self._still_decisions = 0
        self._found: Finding | None = None
        self._bad = self._good = self._objections = 0
        self._bad_since_s = 0.0

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the observation alone, whoever rules. To be called at every decision."""
        observation, now_s = context.observation, context.now_s
        found = self._beyond_layout(observation)
        if found is not None:
            self._found = found
            self._bad, self._good = self._config.implausible_decisions, 0
            self._bad_since_s = min(self._bad_since_s, now_s - self._config.implausible_s)
            return self._objection()
        if self._last_s is not None and now_s <= self._last_s:
            return self._objection() if self._found else self._accept
        self._last_s = now_s
        found = self._frozen(observation, now_s) or self._against_books(observation) or self._out_of_range(observation)
        if found is None:
            self._bad, self._good = 0, self._good + 1
            if self._found is not None and self._good >= self._config.plausible_decisions:
                self._found, self._objections = None, 0
        else:
            if self._bad == 0:
                self._bad_since_s = now_s
            self._bad, self._good = self._bad + 1, 0
            lasts = now_s - self._bad_since_s >= self._config.implausible_s
            if self._found is not None or (self._bad >= self._config.implausible_decisions and lasts):
                self._found = found
        return self._objection() if self._found else self._accept

    def _objection(self) -> Verdict:
        assert self._found is not None
        self._objections += 1
        kind = "trip" if self._objections > self._config.trip_after else "veto"
        return Verdict(kind, self.name, *self._found)

    def _beyond_layout(self, observation: NDArray[np.float32]) -> Finding | None:
        inside = (observation >= self._low) & (observation <= self._high)  # false for what is no number
        if inside.all():
            return None
        at = int(inside.argmin())
        value = float(observation[at])
        evidence = (("position", float(at)), ("value", value))
        return ("telemetry-out-of-bounds" if np.isfinite(value) else "telemetry-not-finite"), evidence

    def _frozen(self, observation: NDArray[np.float32], now_s: float) -> Finding | None:
        if not self._telemetry.size:
            return None
        telemetry, own = observation[self._telemetry].tobytes(), observation[self._own].tobytes()
        idle = not any(telemetry) or bool(own and not any(own))
        if telemetry != self._still or idle:
            self._still, self._still_since_s, self._still_decisions = telemetry, now_s, 0
        elif own != self._own_before or not own:
            self._still_decisions += 1
        self._own_before = own
        span_s = now_s - self._still_since_s
        if self._still_decisions < self._config.frozen_decisions or span_s < self._config.frozen_s:
            return None
        return "telemetry-frozen", (("decisions", float(self._still_decisions)), ("span_s", span_s))

    def _against_books(self, observation: NDArray[np.float32]) -> Finding | None:
        if not self._reported:
            return None
        booked = observation[self._booked].astype(np.float64)
        reported = observation[self._reported[0]].astype(np.float64)
        for more in self._reported[1:]:
            reported += observation[more]
        if self._mean_reported is None:
            self._mean_reported, self._mean_booked = reported, booked
        else:
            weight = 1.0 / self._config.books_decisions
            reported = self._mean_reported = self._mean_reported + weight * (reported - self._mean_reported)
            booked = self._mean_booked = self._mean_booked + weight * (booked - self._mean_booked)
        excess = np.abs(reported - booked) - self._config.books_relative * booked
        worst = int(excess.argmax())
        if excess[worst] <= self._config.books_absolute:
            return None
        return "telemetry-against-own-books", (("reported", float(reported[worst])), ("booked", float(booked[worst])))

    def _out_of_range(self, observation: NDArray[np.float32]) -> Finding | None:
        if self._ranged is None:
            return None
        values = observation[self._ranged]
        inside = (values >= self._range_low) & (values <= self._range_high)
        if inside.all():
            return None
        at = int(inside.argmin())
        return "telemetry-out-of-range", (("position", float(self._ranged[at])), ("value", float(values[at])))
