"""SIEVE (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU", NSDI'24)."""

from __future__ import annotations

from .base import EvictionCache

_END = -1
"""Stands between the newest and the oldest object of the ring; ids are never negative."""


class Sieve(EvictionCache):
    """A queue in order of arrival, and a hand that goes from the oldest object to the newest and round again.

    The hand takes out the first object that was not accessed since it came or the hand last passed it. Objects keep
    their place. The queue is a ring of ids in two dicts.
    """

    name = "sieve"

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._sizes: dict[int, int] = {}
        self._accessed: set[int] = set()
        self._newer = {_END: _END}
        self._older = {_END: _END}
        self._hand = _END

    def touch(self, key: int) -> bool:
        if key in self._sizes:
            self._accessed.add(key)
            return True
        return False

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        if size > self.capacity:
            return (key,)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            evicted += (self._evict(),)
        newest = self._older[_END]
        self._newer[newest] = self._older[_END] = key
        self._newer[key], self._older[key] = _END, newest
        self._sizes[key] = size
        self.used += size
        return evicted

    def _evict(self) -> int:
        newer, accessed = self._newer, self._accessed
        hand = self._hand
        while hand == _END or hand in accessed:
            accessed.discard(hand)
            hand = newer[hand]
        self._hand = hand
        self.remove(hand)
        return hand

    def remove(self, key: int) -> None:
        newer, older = self._newer.pop(key), self._older.pop(key)
        self._newer[older], self._older[newer] = newer, older
        if self._hand == key:
            self._hand = newer
        self._accessed.discard(key)
        self.used -= self._sizes.pop(key)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)
