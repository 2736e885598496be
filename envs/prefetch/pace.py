"""When accesses come: at the trace's times, each tenant's after its own, or one after another without time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from heapq import heapify, heappop, heappush
from math import inf
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..common.clock import Clock
from .config import CacheConfig
from .engine import CacheEngine
from .future import Future
from .history import History
from .tier import EFFECT


class Pace(ABC):
    """Feeds an engine with its rows, and lets the clock's events happen in between."""

    def __init__(self, engine: CacheEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._queue = clock._queue

    def fork(self, engine: CacheEngine, clock: Clock) -> Self:
        """A pace that goes on alike and apart, for a fork of the engine and of the clock."""
        fork = copy(self)
        fork._engine, fork._clock, fork._queue = engine, clock, clock._queue
        return fork

    def continue_with(self, future: Future) -> None:  # noqa: B027 (what follows the engine's rows needs nothing)
        """Go on with other accesses; the engine has them already."""

    @abstractmethod
    def upcoming_s(self) -> float:
        """When the next access comes, or a time before it until which none does."""

    @abstractmethod
    def moment_s(self) -> float:
        """When a decision is made that is due after so many accesses."""

    def is_by(self, until_s: float) -> bool:
        """Whether a decision that is due after so many accesses is made by then."""
        return self.moment_s() <= until_s

    @abstractmethod
    def run(self, stop: int, until_s: float) -> None:
        """Take accesses until ``stop`` are done in all, or the next one does not come before ``until_s``."""

    def run_until(self, stop: int, until_s: float) -> None:
        """The same, also where a decision does not come at a time."""
        self.run(stop, until_s)

    def settle(self, until_s: float) -> None:
        """Let happen what happens up to ``until_s``, that moment included."""
        queue, step = self._queue, self._clock.step
        while queue and queue[0][0] <= until_s:
            step()

    def finish(self, until_s: float = inf) -> bool:
        """No access is left: let arrive what does by ``until_s``, and say whether that was all.

        An arm that would come into force now rules nothing.
        """
        self._queue[:] = [event for event in self._queue if event[1] != EFFECT]
        heapify(self._queue)
        self.settle(until_s)
        return not self._queue

    def order(self) -> NDArray[np.int64]:
        """Rows in the order in which they were issued."""
        return np.arange(self._engine.row, dtype=np.int64)


class OpenPace(Pace):
    """At the trace's own times, whatever the cache does."""

    def upcoming_s(self) -> float:
        return self._engine.times[self._engine.row]

    moment_s = upcoming_s

    def run(self, stop: int, until_s: float) -> None:
        engine, queue, step = self._engine, self._queue, self._clock.step
        times, access = engine.times, engine.access
        for row in range(engine.row, stop):
            now_s = times[row]
            if now_s >= until_s:
                return
            while queue and queue[0][0] <= now_s:
                step()
            engine.now_s = now_s
            access(row, now_s)
            engine.row = row + 1


class TimelessPace(Pace):
    """Every access after all that came before is done, as hit-ratio simulators have it.

    An access's own fetch arrives before its prefetches are issued, and each of these before the next.
    """

    def __init__(self, engine: CacheEngine, clock: Clock) -> None:
        super().__init__(engine, clock)
        engine.settle = self._settle_all

    def fork(self, engine: CacheEngine, clock: Clock) -> Self:
        fork = super().fork(engine, clock)
        engine.settle = fork._settle_all
        return fork

    def upcoming_s(self) -> float:
        return self._clock.now

    def moment_s(self) -> float:
        return self._settle_all()

    def is_by(self, until_s: float) -> bool:
        self.settle(until_s)
        return not self._queue and self._clock.now <= until_s

    def run_until(self, stop: int, until_s: float) -> None:
        engine, clock = self._engine, self._clock
        while engine.row < stop:
            self.settle(until_s)
            if self._queue or clock.now >= until_s:
                return
            self.run(engine.row + 1, inf)

    def _settle_all(self) -> float:
        self.settle(inf)
        return self._clock.now

    def run(self, stop: int, until_s: float) -> None:
        engine, queue, clock, step = self._engine, self._queue, self._clock, self._clock.step
        times, access = engine.times, engine.access
        for row in range(engine.row, stop):
            while queue:
                step()
            now_s = engine.now_s = times[row] = clock.now
            access(row, now_s)
            engine.row = row + 1


class ClosedPace(Pace):
    """Each tenant takes its accesses in order on ``window`` slots; a slot thinks between an end and its next access.

    Under ``paced`` an access does not come before its time in the trace either: an application that waits for storage
    falls behind, and catches up where it would have been idle. Either way an access arrives when it is issued; what it
    waits on its own tenant's side is not part of its latency.
    """

    def __init__(self, engine: CacheEngine, clock: Clock, config: CacheConfig) -> None:
        super().__init__(engine, clock)
        self._hit_s = config.hit_s
        self._think_s = config.think_s if config.demand == "closed" else 0.0
        paced = config.demand == "paced"
        self._not_before: tuple[float, ...] | dict[int, float] | None = tuple(engine.times) if paced else None
        rows: list[list[int]] = [[] for _ in range(engine.n_tenants)]
        for row, tenant in enumerate(engine.tenants):
            rows[tenant].append(row)
        self._rows = tuple(tuple(own) for own in rows)
        self._taken = [0] * engine.n_tenants
        self._free_s = [[0.0] * config.window for _ in range(engine.n_tenants)]
        """Heaps: since when, or from when on, each idle slot may take an access."""
        self._ready: list[tuple[float, int]] = []
        self._ready_s = [inf] * engine.n_tenants
        """When each tenant's next access comes, as far as is known; other entries of the heap are out of date."""
        self._issued = History("q")
        for tenant in range(engine.n_tenants):
            self._make_ready(tenant, 0.0)
        engine.done = self._done

    def fork(self, engine: CacheEngine, clock: Clock) -> Self:
        fork = super().fork(engine, clock)
        fork._taken, fork._ready, fork._ready_s = self._taken.copy(), self._ready.copy(), self._ready_s.copy()
        fork._free_s = [free_s.copy() for free_s in self._free_s]
        fork._issued = self._issued.fork()
        engine.done = fork._done
        return fork

    def continue_with(self, future: Future) -> None:
        engine = self._engine
        rows: list[list[int]] = [[] for _ in range(engine.n_tenants)]
        for row in range(future.first, future.first + len(future.trace)):
            rows[engine.tenants[row]].append(row)
        self._rows = tuple(tuple(own) for own in rows)
        if self._not_before is not None:
            self._not_before = {row: engine.times[row] for own in rows for row in own}
        self._taken = [0] * engine.n_tenants
        self._ready, self._ready_s = [], [inf] * engine.n_tenants
        for tenant in range(engine.n_tenants):
            self._make_ready(tenant, engine.now_s)

    def order(self) -> NDArray[np.int64]:
        return self._issued.values()

    def upcoming_s(self) -> float:
        ready = self._ready
        while ready and ready[0][0] != self._ready_s[ready[0][1]]:
            heappop(ready)
        ready_s = ready[0][0] if ready else inf
        return min(ready_s, self._queue[0][0]) if self._queue else ready_s

    def moment_s(self) -> float:
        return self._engine.now_s

    def run(self, stop: int, until_s: float) -> None:
        engine, queue, step, ready = self._engine, self._queue, self._clock.step, self._ready
        while engine.row < stop:
            ready_s = ready[0][0] if ready else inf
            event_s = queue[0][0] if queue else inf
            if min(ready_s, event_s) >= until_s:
                return
            if event_s <= ready_s:
                step()
                continue
            now_s, tenant = heappop(ready)
            if now_s != self._ready_s[tenant]:
                continue
            self._ready_s[tenant] = inf
            free_s = self._free_s[tenant]
            heappop(free_s)
            row = self._rows[tenant][self._taken[tenant]]
            self._taken[tenant] += 1
            engine.now_s = engine.times[row] = now_s
            self._issued.append(row)
            waiting = engine.counters[tenant].waiting
            engine.access(row, now_s)
            engine.row += 1
            if engine.counters[tenant].waiting == waiting:  # a hit, or a write of an absent object
                heappush(free_s, now_s + self._hit_s + self._think_s)
            self._make_ready(tenant, now_s)

    def _done(self, tenant: int, now_s: float) -> None:
        heappush(self._free_s[tenant], now_s + self._think_s)
        self._make_ready(tenant, now_s)

    def _make_ready(self, tenant: int, now_s: float) -> None:
        rows, place, free_s = self._rows[tenant], self._taken[tenant], self._free_s[tenant]
        if place == len(rows) or not free_s:
            return
        at_s = free_s[0] if free_s[0] > now_s else now_s
        if self._not_before is not None and self._not_before[rows[place]] > at_s:
            at_s = self._not_before[rows[place]]
        if at_s < self._ready_s[tenant]:
            self._ready_s[tenant] = at_s
            heappush(self._ready, (at_s, tenant))


def make_pace(engine: CacheEngine, clock: Clock, config: CacheConfig) -> Pace:
    """The pace that ``config`` names."""
    if config.demand in ("closed", "paced"):
        return ClosedPace(engine, clock, config)
    return (TimelessPace if config.demand == "timeless" else OpenPace)(engine, clock)
