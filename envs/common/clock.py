"""SimPy's environment with events at exact absolute times.

`simpy.Environment.schedule` takes a delay, and ``now + (t - now)`` is not ``t`` in floating point. Step boundaries are
computed in closed form and must be bit-identical however they were reached, so events are pushed at their time itself.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
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
