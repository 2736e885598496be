"""CLOCK, the second-chance rule (Corbató, "A Paging Experiment with the Multics System", 1968)."""

from __future__ import annotations

from .queue import QueueCache


class Clock(QueueCache):
    """Evicts in order of arrival, but passes over once what was accessed since it came or was last passed over.

    Turning the hand past an object is moving it from the front of the queue to the end.
    """

    name = "clock"

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._accessed: set[int] = set()

    def touch(self, key: int) -> bool:
        if key in self._sizes:
            self._accessed.add(key)
            return True
        return False

    def _evict(self) -> int:
        sizes, accessed = self._sizes, self._accessed
        while True:
            key, size = sizes.popitem(last=False)
            if key not in accessed:
                self.used -= size
                return key
            accessed.remove(key)
            sizes[key] = size

    def remove(self, key: int) -> None:
        super().remove(key)
        self._accessed.discard(key)
