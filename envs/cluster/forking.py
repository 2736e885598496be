"""Exact copies of a running simulator. Copied is what is in flight; all else is shared."""

from __future__ import annotations

import copy
from itertools import count
from typing import TYPE_CHECKING, Any

from ..common.clock import Alarm, Clock
from .running import Attempt

if TYPE_CHECKING:
    from .simulator import ClusterSimulator


def fork_simulator(simulator: ClusterSimulator) -> Any:
    """An independent simulator in the same state, of the same class."""
    twin = copy.copy(simulator)
    clock = twin._clock = Clock()
    clock._now = simulator._clock._now  # type: ignore[attr-defined]
    twin.pool = simulator.pool.fork()
    twin.state = simulator.state.fork(clock, twin.pool, twin._attempt_ends)
    twin._pass = copy.copy(simulator._pass)
    twin._commitment = copy.copy(simulator._commitment)
    if simulator.window is not None:
        twin.window = simulator.window.fork(twin.state)
    if simulator._asked is not None:
        twin._asked = getattr(twin, simulator._asked.__name__)
    twin._outcomes = simulator._outcomes.copy()
    twin._decision_of = simulator._decision_of.copy()
    twin._sampled = (simulator._sampled[0][:], simulator._sampled[1][:])
    twin._machines_down = simulator._machines_down.copy()
    twin._down_since = simulator._down_since.copy()
    twin._claims = simulator._claims.copy()
    twin._slowed = simulator._slowed.copy()
    _fork_events(simulator, twin)
    return twin


def _fork_events(simulator: ClusterSimulator, twin: ClusterSimulator) -> None:
    """Put the events to come on the twin's clock: same times, same order."""
    clock, other = simulator._clock, twin._clock
    number = next(clock._eid)
    clock._eid = count(number)
    other._eid = count(number)
    attempts = twin.state.running.by_row
    queue = []
    for at_s, priority, serial, event in clock._queue:
        callbacks = event.callbacks
        alarm = object.__new__(Alarm)
        if not callbacks:
            alarm.callbacks = []
        else:
            callback: Any = callbacks[0]
            owner = getattr(callback, "__self__", None)
            if owner is simulator:
                alarm.callbacks = [getattr(twin, callback.__name__)]
            elif owner is None:
                alarm.callbacks = [callback.fork(twin)]
            elif owner.alive:
                attempt: Attempt = attempts[owner.row]
                attempt.alarm = alarm
                alarm.callbacks = [attempt.ended]
            else:
                alarm.callbacks = []
        queue.append((at_s, priority, serial, alarm))
    other._queue = queue  # a copy of a heap is a heap
