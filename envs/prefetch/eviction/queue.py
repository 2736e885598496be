"""What LRU, FIFO and CLOCK share: one queue, new objects at its end, the next to leave at its front."""

from __future__ import annotations

from collections import OrderedDict

from .base import EvictionCache


class QueueCache(EvictionCache):
    """A cache whose objects stand in one queue. A rule adds what a touch does, and may change who leaves."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._sizes: OrderedDict[int, int] = OrderedDict()

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        if size > self.capacity:
            return (key,)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            evicted += (self._evict(),)
        self._sizes[key] = size
        self.used += size
        return evicted

    def _evict(self) -> int:
        """Take out the object at the front, and return its id."""
        key, size = self._sizes.popitem(last=False)
        self.used -= size
        return key

    def remove(self, key: int) -> None:
        self.used -= self._sizes.pop(key)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)
