"""First in, first out."""

from __future__ import annotations

from .queue import QueueCache


class Fifo(QueueCache):
    """Evicts what was put in longest ago."""

    name = "fifo"

    def touch(self, key: int) -> bool:
        return key in self._sizes
