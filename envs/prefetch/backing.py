"""What lies behind the cache: the backing tier, or a middle cache and then the backing tier."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

from ..common.clock import Clock
from .config import CacheConfig, MiddleConfig
from .eviction import make_eviction
from .fetch import WRITE_BACK, Fetch
from .links import make_link
from .tier import Link
from .under_way import Copies


class Backing:
    """Fetches straight from the backing tier.

    Attributes:
        tier: Link to the backing tier.
        near: Link to the middle cache, or None.
    """

    near: Link | None = None

    def __init__(self, config: CacheConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        self.tier = make_link(config.tier, clock, arrived)
        self._pass_through()

    def _pass_through(self) -> None:
        self.submit = self.tier.submit
        self.promote = self.tier.promote

    def fork(self, clock: Clock, copies: Copies, arrived: Callable[[Fetch], Any]) -> Self:
        """A backing that goes on alike and apart."""
        fork = copy(self)
        fork.tier = self.tier.fork(clock, copies, arrived)
        fork._pass_through()
        return fork


class MiddleBacking(Backing):
    """Fetches through a middle cache (a host's memory before remote storage): LRU, inclusive on the way in.

    What it holds comes over its own link; what it lacks comes over the backing tier's link first and stays. Write-backs
    go to the middle cache and on to the backing tier (write through), each link carrying them once.
    """

    def __init__(self, config: CacheConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> None:
        middle: MiddleConfig = config.middle  # type: ignore[assignment]
        self._clock = clock
        self._by_bytes = middle.objects is None
        self.cache = make_eviction("lru", middle.objects or middle.size_bytes or 1)
        self.near: Link = make_link(middle.tier, clock, arrived)
        self.tier = make_link(config.tier, clock, self._came_from_afar)
        self.hits = 0
        self.misses = 0

    def fork(self, clock: Clock, copies: Copies, arrived: Callable[[Fetch], Any]) -> Self:
        fork = copy(self)
        fork._clock = clock
        fork.cache = self.cache.fork()
        fork.near = self.near.fork(clock, copies, arrived)
        fork.tier = self.tier.fork(clock, copies, fork._came_from_afar)
        return fork

    def submit(self, fetch: Fetch, now_s: float) -> bool:
        """Queue a fetch at the nearest link that can serve it; False where that turns it away."""
        if fetch.kind == WRITE_BACK:
            return self.near.submit(fetch, now_s) and self.tier.submit(fetch, now_s)
        if self.cache.touch(fetch.key):
            self.hits += 1
            return self.near.submit(fetch, now_s)
        self.misses += 1
        return self.tier.submit(fetch, now_s)

    def promote(self, fetch: Fetch) -> None:
        """A demand access has begun to wait for this prefetch."""
        self.tier.promote(fetch)
        self.near.promote(fetch)

    def _came_from_afar(self, fetch: Fetch) -> None:
        if fetch.kind == WRITE_BACK:
            return
        if fetch.key not in self.cache:
            self.cache.insert(fetch.key, fetch.size_bytes if self._by_bytes else 1)
        self.near.submit(fetch, self._clock.now)
        if fetch.waiters:
            self.near.promote(fetch)


def make_backing(config: CacheConfig, clock: Clock, arrived: Callable[[Fetch], Any]) -> Backing:
    """The backing that ``config`` describes."""
    return (Backing if config.middle is None else MiddleBacking)(config, clock, arrived)
