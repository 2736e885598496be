"""The link to a tier: one server and its queue, shared by demand fetches, prefetches and write-backs.

The server is work conserving under every discipline, so its backlog and the time it has been in use follow from the
work submitted alone; only who waits how long depends on the discipline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any, Self

from ..common.clock import Clock
from .config import TierConfig
from .fetch import DEMAND, PREFETCH, Fetch
from .under_way import Copies

SERVED, ARRIVAL, EFFECT = 0, 1, 2
"""Priorities of simultaneous events: the server becomes free, fetches arrive, decisions come into effect."""


class Link:
    """Serves fetches first come first served; ``demand-first`` and ``bounded`` are `PriorityLink` and `BoundedLink`.

    Args:
        config: The tier.
        clock: The simulation's clock.
        arrived: Called with each fetch when it arrives.

    Attributes:
        submitted: Fetches by kind.
        submitted_bytes: Bytes by kind.
        work_by_kind_s: Server time by kind, as submitted, in seconds.
        waited_s: Waits for the server by kind, of those whose service has begun, in seconds.
    """

    def __init__(self, config: TierConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        self.config = config
        self._clock = clock
        self._arrived = arrived
        self._service_s = config.service_s
        self._s_per_byte = 1.0 / config.bandwidth_bytes_per_s
        self._latency_s = config.latency_s
        self._busy_until_s = 0.0
        self._total_work_s = 0.0
        self._under_way: deque[Fetch] = deque()
        self.submitted = [0, 0, 0]
        self.submitted_bytes = [0, 0, 0]
        self.work_by_kind_s = [0.0, 0.0, 0.0]
        self.waited_s = [0.0, 0.0, 0.0]

    def fork(self, clock: Clock, copies: Copies, arrived: Callable[[Fetch], Any]) -> Self:
        """A link that goes on alike and apart; the events that it waits for are forked elsewhere."""
        fork = copy(self)
        fork._clock, fork._arrived = clock, arrived
        fork._under_way = deque(copies.fetches(self._under_way))
        for account in ("submitted", "submitted_bytes", "work_by_kind_s", "waited_s"):
            setattr(fork, account, getattr(self, account).copy())
        return fork

    def submit(self, fetch: Fetch, now_s: float) -> bool:
        """Queue a fetch; False where the discipline turns it away."""
        start_s = self._busy_until_s
        if start_s < now_s:
            start_s = now_s
        self.waited_s[fetch.kind] += start_s - now_s
        done_s = start_s + self._count(fetch)
        self._busy_until_s = done_s
        self._under_way.append(fetch)
        self._clock.at(done_s + self._latency_s, self._arrive, ARRIVAL)
        return True

    def promote(self, fetch: Fetch) -> None:
        """A demand access has begun to wait for this prefetch; without priorities nothing changes."""

    def backlog_s(self, now_s: float) -> float:
        """Server time still to be spent on what was submitted, in seconds: what the next one waits in a plain queue."""
        return max(self._busy_until_s - now_s, 0.0)

    def work_s(self, now_s: float) -> float:
        """Server time spent up to now, in seconds."""
        return self._total_work_s - self.backlog_s(now_s)

    def forget_future(self, now_s: float) -> None:
        """Know no more of what is to come than now: how the link does at present goes on."""

    def rescale(self, now_s: float, factor: float) -> None:
        """From now on everything takes ``factor`` times as long, what is under way included.

        The events that the link waits for are rescaled by whoever has the clock.
        """
        self._service_s *= factor
        self._s_per_byte *= factor
        self._latency_s *= factor
        left_s = max(self._busy_until_s - now_s, 0.0)
        self._busy_until_s = now_s + left_s * factor
        self._total_work_s += left_s * (factor - 1.0)

    def _count(self, fetch: Fetch) -> float:
        kind, size = fetch.kind, fetch.size_bytes
        work_s = self._service_s + size * self._s_per_byte
        self.submitted[kind] += 1
        self.submitted_bytes[kind] += size
        self.work_by_kind_s[kind] += work_s
        self._total_work_s += work_s
        return work_s

    def _arrive(self, event: object) -> None:
        # The latency is the same for all, so fetches arrive in the order in which they leave the server.
        self._arrived(self._under_way.popleft())


class BoundedLink(Link):
    """First come first served; a prefetch that finds ``prefetch_queue`` others waiting or in service is turned away."""

    def __init__(self, config: TierConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        super().__init__(config, clock, arrived)
        self._prefetches_until_s: deque[float] = deque()

    def fork(self, clock: Clock, copies: Copies, arrived: Callable[[Fetch], Any]) -> Self:
        fork = super().fork(clock, copies, arrived)
        fork._prefetches_until_s = self._prefetches_until_s.copy()
        return fork

    def rescale(self, now_s: float, factor: float) -> None:
        super().rescale(now_s, factor)
        self._prefetches_until_s = deque(now_s + (end_s - now_s) * factor for end_s in self._prefetches_until_s)

    def submit(self, fetch: Fetch, now_s: float) -> bool:
        if fetch.kind != PREFETCH:
            return super().submit(fetch, now_s)
        ends = self._prefetches_until_s
        while ends and ends[0] <= now_s:
            ends.popleft()
        if len(ends) >= self.config.prefetch_queue:
            return False
        super().submit(fetch, now_s)
        ends.append(self._busy_until_s)
        return True


class PriorityLink(Link):
    """Demand before write-backs before prefetches, first come first served within each, without preemption.

    A prefetch that a demand access has begun to wait for is promoted: it goes to the end of the demand queue.
    """

    def __init__(self, config: TierConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        super().__init__(config, clock, arrived)
        self._queues: tuple[deque[tuple[Fetch, float, float]], ...] = (deque(), deque(), deque())
        self._waiting: dict[Fetch, tuple[float, float]] = {}
        """Prefetches in the queue of prefetches; an entry there that is no longer here was promoted."""
        self._busy = False

    def fork(self, clock: Clock, copies: Copies, arrived: Callable[[Fetch], Any]) -> Self:
        fork = super().fork(clock, copies, arrived)
        own = copies.fetch
        fork._queues = tuple(
            deque((own(fetch), since_s, work_s) for fetch, since_s, work_s in queue) for queue in self._queues
        )
        fork._waiting = {own(fetch): waiting for fetch, waiting in self._waiting.items()}
        return fork

    def rescale(self, now_s: float, factor: float) -> None:
        super().rescale(now_s, factor)
        self._queues = tuple(
            deque((fetch, since_s, work_s * factor) for fetch, since_s, work_s in queue) for queue in self._queues
        )
        self._waiting = {fetch: (since_s, work_s * factor) for fetch, (since_s, work_s) in self._waiting.items()}

    def submit(self, fetch: Fetch, now_s: float) -> bool:
        work_s = self._count(fetch)
        self._busy_until_s = max(self._busy_until_s, now_s) + work_s
        if self._busy:
            kind = fetch.kind
            self._queues[kind].append((fetch, now_s, work_s))
            if kind == PREFETCH:
                self._waiting[fetch] = (now_s, work_s)
        else:
            self._serve(fetch, work_s, now_s)
        return True

    def promote(self, fetch: Fetch) -> None:
        waiting = self._waiting.pop(fetch, None)
        if waiting is not None:
            self._queues[DEMAND].append((fetch, *waiting))

    def _serve(self, fetch: Fetch, work_s: float, now_s: float) -> None:
        self._busy = True
        self._under_way.append(fetch)
        self._clock.at(now_s + work_s, self._served, SERVED)
        self._clock.at(now_s + work_s + self._latency_s, self._arrive, ARRIVAL)

    def _served(self, event: object) -> None:
        now_s = self._clock.now
        self._busy = False
        demand, prefetches, write_backs = self._queues
        for queue in (demand, write_backs, prefetches):
            while queue:
                fetch, since_s, work_s = queue.popleft()
                if queue is prefetches and self._waiting.pop(fetch, None) is None:
                    continue
                self.waited_s[fetch.kind] += now_s - since_s
                self._serve(fetch, work_s, now_s)
                return
