"""Least recently used."""

from __future__ import annotations

from .queue import QueueCache


class Lru(QueueCache):
    """Evicts what was accessed, or put in, longest ago."""

    name = "lru"

    def touch(self, key: int) -> bool:
        if key in self._sizes:
            self._sizes.move_to_end(key)
            return True
        return False
