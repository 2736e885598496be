"""A shadow cache without time: what the standing scheme would have missed by now."""

from __future__ import annotations

from collections.abc import Sequence

from .eviction.base import EvictionCache


class GhostCache:
    """Takes the same demand accesses; every fetch arrives at once.

    Args:
        cache: Its contents, empty.
        touches: Whether suggesting what is there counts as an access, as in the real cache.

    Attributes:
        cache: Its contents.
        misses: Demand accesses that found nothing.
    """

    def __init__(self, cache: EvictionCache, *, touches: bool = False) -> None:
        self.cache = cache
        self.misses = 0
        self._touches = touches

    def fork(self) -> GhostCache:
        """A shadow that goes on alike and apart."""
        fork = GhostCache(self.cache.fork(), touches=self._touches)
        fork.misses = self.misses
        return fork

    def access(self, key: int, units: int, suggestions: Sequence[int]) -> None:
        """One demand access, and then the prefetches that follow it. Each object counts ``units``."""
        cache = self.cache
        if not cache.touch(key):
            self.misses += 1
            cache.insert(key, units)
        for other in suggestions:
            if other not in cache:
                cache.insert(other, units)
            elif self._touches:
                cache.touch(other)
