"""Copies of what is under way when a simulator forks: transfers, intervals, and the events that wait for their time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from ..common.clock import Alarm, Clock
from .fetch import Fetch, Interval


class Copies:
    """Makes one copy of each transfer and interval, however many places it is met in."""

    def __init__(self) -> None:
        self._fetches: dict[int, Fetch] = {}
        self._intervals: dict[int, Interval] = {}

    def interval(self, interval: Interval) -> Interval:
        """The copy of an interval."""
        twin = self._intervals.get(id(interval))
        if twin is None:
            twin = self._intervals[id(interval)] = Interval(interval.decision, interval.item)
            twin.accesses, twin.waited, twin.waiting = interval.accesses, interval.waited, interval.waiting
            twin.ended, twin.latency_s, twin.worst_s = interval.ended, interval.latency_s, interval.worst_s
        return twin

    def fetch(self, fetch: Fetch) -> Fetch:
        """The copy of a transfer."""
        twin = self._fetches.get(id(fetch))
        if twin is None:
            twin = Fetch(fetch.key, fetch.size_bytes, fetch.kind, fetch.tenant, fetch.arm)
            self._fetches[id(fetch)] = twin
            twin.unsettled, twin.keep = fetch.unsettled, fetch.keep
            if fetch.waiters:
                own = self.interval
                twin.waiters = [(row, outcome, own(interval)) for row, outcome, interval in fetch.waiters]
        return twin

    def fetches(self, fetches: Iterable[Fetch]) -> list[Fetch]:
        """The copies of several."""
        return [self.fetch(fetch) for fetch in fetches]


def fork_events(clock: Clock, fork: Clock, rebound: Callable[[Any], Any]) -> None:
    """Put the events of ``clock`` into ``fork``; ``rebound`` says what a callback is over there."""
    number = next(clock._eid)
    clock._eid, fork._eid = count(number), count(number)
    fork._queue[:] = [
        (at_s, priority, place, Alarm(rebound(event.callbacks[0])))  # type: ignore[index, arg-type]
        for at_s, priority, place, event in clock._queue
    ]
