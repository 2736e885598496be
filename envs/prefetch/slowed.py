"""A link that is slow for a while: a tier at a part of its bandwidth, a straggling device."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ..common.clock import Clock
from .config import TierConfig
from .fetch import DEMAND, PREFETCH, Fetch
from .tier import PriorityLink


class SlowedLink(PriorityLink):
    """Serves under any discipline; a fetch whose service starts within a slowdown holds the server that much longer.

    How long a fetch takes is settled when its service starts. The backlog it reports counts what waits at the present
    speed: it knows of no slowdown, and of no recovery, that is still to come.
    """

    def __init__(self, config: TierConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        super().__init__(config, clock, arrived)
        self._windows = tuple(sorted(config.slowdowns))
        self._in_order = config.discipline != "demand-first"
        self._most_prefetches = config.prefetch_queue if config.discipline == "bounded" else inf
        self._prefetches = 0
        """Waiting or in service."""
        self._serves_prefetch = False
        self._until_s = 0.0
        """When the fetch in service leaves the server."""

    def factor(self, now_s: float) -> float:
        """How many times as long as usual a service takes that starts now."""
        for start_s, end_s, factor in self._windows:
            if start_s <= now_s < end_s:
                return factor
        return 1.0

    def submit(self, fetch: Fetch, now_s: float) -> bool:
        if fetch.kind == PREFETCH:
            if self._prefetches >= self._most_prefetches:
                return False
            self._prefetches += 1
        if not self._in_order or not self._busy:
            return super().submit(fetch, now_s)
        work_s = self._count(fetch)
        self._busy_until_s = max(self._busy_until_s, now_s) + work_s
        self._queues[DEMAND].append((fetch, now_s, work_s))
        return True

    def backlog_s(self, now_s: float) -> float:
        in_service_s = max(self._until_s - now_s, 0.0)
        waiting_s = max(self._busy_until_s - max(self._until_s, now_s), 0.0)
        return in_service_s + waiting_s * self.factor(now_s)

    def work_s(self, now_s: float) -> float:
        return self._total_work_s - max(self._busy_until_s - now_s, 0.0)

    def forget_future(self, now_s: float) -> None:
        factor = self.factor(now_s)
        self._windows = ((-inf, inf, factor),) if factor != 1.0 else ()

    def rescale(self, now_s: float, factor: float) -> None:
        super().rescale(now_s, factor)
        self._until_s = now_s + (self._until_s - now_s) * factor

    def _serve(self, fetch: Fetch, work_s: float, now_s: float) -> None:
        more_s = work_s * (self.factor(now_s) - 1.0)
        if more_s != 0.0:
            self.work_by_kind_s[fetch.kind] += more_s
            self._total_work_s += more_s
            self._busy_until_s += more_s
            work_s += more_s
        self._until_s = now_s + work_s
        self._serves_prefetch = fetch.kind == PREFETCH
        super()._serve(fetch, work_s, now_s)

    def _served(self, event: object) -> None:
        if self._serves_prefetch:
            self._prefetches -= 1
        super()._served(event)
