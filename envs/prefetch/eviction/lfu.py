"""Least frequently used, in constant time (Shah, Mitra and Matani, "An O(1) algorithm for implementing LFU", 2010)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Self

from ..layers import split_queue
from .base import EvictionCache


class Lfu(EvictionCache):
    """Evicts what was accessed least often since it was put in; among equals, what was accessed longest ago.

    An object starts with a frequency of 1, and its frequency is forgotten when it leaves.
    """

    name = "lfu"

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._frequency: dict[int, int] = {}
        self._rows: dict[int, OrderedDict[int, int]] = {}  # frequency -> its objects and sizes, longest ago first

    def touch(self, key: int) -> bool:
        frequency = self._frequency.get(key)
        if frequency is None:
            return False
        self._put(key, frequency + 1, self._take(key, frequency))
        return True

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        if size > self.capacity:
            return (key,)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            # The row of frequency 1 is rarely empty: every miss fills it.
            lowest = 1 if 1 in self._rows else min(self._rows)
            victim = next(iter(self._rows[lowest]))
            self.remove(victim)
            evicted += (victim,)
        self._put(key, 1, size)
        self.used += size
        return evicted

    def remove(self, key: int) -> None:
        self.used -= self._take(key, self._frequency.pop(key))

    def __contains__(self, key: object) -> bool:
        return key in self._frequency

    def __len__(self) -> int:
        return len(self._frequency)

    def _put(self, key: int, frequency: int, size: int) -> None:
        self._frequency[key] = frequency
        row = self._rows.get(frequency)
        if row is None:
            row = self._rows[frequency] = OrderedDict()
        row[key] = size

    def _take(self, key: int, frequency: int) -> int:
        """Take an object out of its row; return its size."""
        row = self._rows[frequency]
        size = row.pop(key)
        if not row:
            del self._rows[frequency]
        return size

    def fork(self) -> Self:
        fork = super().fork()
        for frequency, row in self._rows.items():
            self._rows[frequency], fork._rows[frequency] = split_queue(row)
        return fork
