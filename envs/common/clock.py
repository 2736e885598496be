"""SimPy's environment with events at exact absolute times.

`simpy.Environment.schedule` takes a delay, and ``now + (t - now)`` is not ``t`` in floating point. Step boundaries are
computed in closed form and must be bit-identical however they were reached, so events are pushed at their time itself.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappush
from operator import attrgetter
from typing import Any

import simpy


class Alarm(simpy.Event):
    """An event that is triggered when it is made, with one callback."""

    _ok = True
    _value = None

    def __init__(self, callback: Callable[[simpy.Event], Any]) -> None:
        self.callbacks = [callback]


class Clock(simpy.Environment):
    """A SimPy environment whose events are called back at absolute times."""

    now = property(attrgetter("_now"), doc="The simulated time; SimPy's own property, read without a Python call.")

    def at(self, time_s: float, callback: Callable[[simpy.Event], Any], priority: int) -> simpy.Event:
        """Call ``callback(event)`` at ``time_s`` (>= now); among simultaneous events lower ``priority`` goes first."""
        event = Alarm(callback)
        heappush(self._queue, (time_s, priority, next(self._eid), event))  # type: ignore[arg-type]
        return event

    def upcoming(self) -> list[tuple[float, int, simpy.Event]]:
        """The events to come as (time, priority, event), in their order."""
        return [(time_s, priority, event) for time_s, priority, _, event in sorted(self._queue)]  # type: ignore[type-var]

    def keep(self, wanted: Callable[[int, simpy.Event], bool]) -> None:
        """Cancel the events to come that ``wanted(priority, event)`` says no to."""
        self._queue = [entry for entry in self._queue if wanted(entry[1], entry[3])]
        heapify(self._queue)

    def pass_until(self, time_s: float) -> None:
        """Let time go by until ``time_s``, before which nothing may be due."""
        self._now = time_s
