"""S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO Queues are All You Need for Cache Eviction", SOSP'23)."""

from __future__ import annotations

from collections import OrderedDict

from .base import EvictionCache

SMALL_SHARE = 0.1
GHOST_SHARE = 0.9
PROMOTED_AT = 2
"""Accesses in the small queue that move an object to the main one."""
MOST_COUNTED = 3
"""Accesses beyond these do not count in the main queue."""


class S3Fifo(EvictionCache):
    """A small queue for what is new, a main queue for what proved itself, a ghost queue of ids that left the small one.

    An object that is missed while its id is in the ghost queue goes to the main queue. A prefetch says nothing about
    reuse: what it brings starts in the small queue, unless a demand access has missed it meanwhile. Until the first
    eviction what the small queue has no room for goes to the main one.
    """

    name = "s3fifo"

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._small_units = int(SMALL_SHARE * capacity)
        self._main_units = capacity - self._small_units
        self._ghost_units = int(GHOST_SHARE * capacity)
        self._small: OrderedDict[int, int] = OrderedDict()
        self._main: OrderedDict[int, int] = OrderedDict()
        self._ghost: OrderedDict[int, int] = OrderedDict()
        self._small_used = 0
        self._ghost_used = 0
        self._counts: dict[int, int] = {}  # of every object that is there
        self._returning: set[int] = set()  # missed while in the ghost queue, and not put in yet
        self._has_evicted = False

    def touch(self, key: int) -> bool:
        counts = self._counts
        if key in counts:
            counts[key] += 1
            return True
        if key in self._ghost:
            self._ghost_used -= self._ghost.pop(key)
            self._returning.add(key)
        return False

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        returning = key in self._returning
        self._returning.discard(key)
        if size > self.capacity:
            return (key,)
        if key in self._ghost:
            self._ghost_used -= self._ghost.pop(key)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            self._has_evicted = True
            if self._small and self.used - self._small_used <= self._main_units:
                evicted += self._evict_small()
            else:
                evicted += (self._evict_main(),)
        if returning or (not self._has_evicted and self._small_used >= self._small_units):
            self._main[key] = size
        else:
            self._small[key] = size
            self._small_used += size
        self._counts[key] = 0
        self.used += size
        return evicted

    def _evict_small(self) -> tuple[int, ...]:
        """Move what was accessed often to the main queue until something leaves; nothing leaves where all was."""
        while self._small:
            key, size = self._small.popitem(last=False)
            self._small_used -= size
            if self._counts[key] < PROMOTED_AT:
                del self._counts[key]
                self.used -= size
                self._remember(key, size)
                return (key,)
            self._counts[key] = 0
            self._main[key] = size
        return ()

    def _evict_main(self) -> int:
        main, counts = self._main, self._counts
        while True:
            key, size = main.popitem(last=False)
            if not counts[key]:
                del counts[key]
                self.used -= size
                return key
            counts[key] = min(counts[key], MOST_COUNTED) - 1
            main[key] = size

    def _remember(self, key: int, size: int) -> None:
        """Put an id into the ghost queue, if it fits there at all."""
        if size > self._ghost_units:
            return
        while self._ghost_used + size > self._ghost_units:
            self._ghost_used -= self._ghost.popitem(last=False)[1]
        self._ghost[key] = size
        self._ghost_used += size

    def remove(self, key: int) -> None:
        del self._counts[key]
        if key in self._small:
            size = self._small.pop(key)
            self._small_used -= size
        else:
            size = self._main.pop(key)
        self.used -= size

    def __contains__(self, key: object) -> bool:
        return key in self._counts

    def __len__(self) -> int:
        return len(self._counts)
