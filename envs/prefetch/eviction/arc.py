"""ARC, the adaptive replacement cache (Megiddo and Modha, FAST'03)."""

from __future__ import annotations

from collections import OrderedDict

from .base import EvictionCache

_NOWHERE, _FIRST, _SECOND = 0, 1, 2
_MOST_REMEMBERED = 8
"""Bound on what is remembered, in capacities. Where objects count one each 2 suffice; in bytes about 3 were seen."""


class Arc(EvictionCache):
    """Two lists by recency, of objects accessed once and more than once, and a list of ids that left each of them.

    A miss on a remembered id moves the target size of the first list (a real number) towards the list that it left too
    early, and brings the object into the second list. A prefetch says nothing about reuse: it moves no target, and what
    it brings starts in the first list, unless a demand access has missed it meanwhile.

    Where the capacity counts bytes, list sizes and the target do, the paper's steps are taken an eviction (each forgets
    one id at most), and the target still moves by the ratio of the two memories: slowly, against objects of thousands.
    """

    name = "arc"

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._once: OrderedDict[int, int] = OrderedDict()
        self._often: OrderedDict[int, int] = OrderedDict()
        self._once_gone: OrderedDict[int, int] = OrderedDict()
        self._often_gone: OrderedDict[int, int] = OrderedDict()
        self._once_used = 0
        self._once_gone_used = 0
        self._often_gone_used = 0
        self._target = 0.0
        self._returning: dict[int, int] = {}  # missed while remembered, and not put in yet: which list they had left

    def touch(self, key: int) -> bool:
        if key in self._often:
            self._often.move_to_end(key)
            return True
        if key in self._once:
            size = self._often[key] = self._once.pop(key)
            self._once_used -= size
            return True
        once_gone, often_gone = self._once_gone_used, self._often_gone_used
        if key in self._once_gone:
            self._target = min(self.capacity, self._target + max(often_gone / once_gone, 1.0))
            self._once_gone_used -= self._once_gone.pop(key)
            self._returning[key] = _FIRST
        elif key in self._often_gone:
            self._target = max(0.0, self._target - max(once_gone / often_gone, 1.0))
            self._often_gone_used -= self._often_gone.pop(key)
            self._returning[key] = _SECOND
        return False

    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        left = self._returning.pop(key, _NOWHERE)
        if size > self.capacity:
            return (key,)
        self._forget(key)
        evicted: tuple[int, ...] = ()
        while self.used + size > self.capacity:
            evicted += (self._replace(left) if left else self._evict_for_new(size),)
        if left:
            self._often[key] = size
        else:
            self._once[key] = size
            self._once_used += size
        self.used += size
        while self._once_gone_used + self._often_gone_used > _MOST_REMEMBERED * self.capacity:
            self._forget_oldest()
        return evicted

    def _evict_for_new(self, size: int) -> int:
        """Case IV of the paper: one object leaves for a new one of that size, and each memory keeps its bound."""
        if self._once_used + self._once_gone_used + size > self.capacity:
            if not self._once_gone:
                # New objects alone fill the first list, and what leaves it now is not remembered.
                key, freed = self._once.popitem(last=False)
                self._once_used -= freed
                self.used -= freed
                return key
            self._once_gone_used -= self._once_gone.popitem(last=False)[1]
        elif self._often_gone and self.used + self._once_gone_used + self._often_gone_used >= 2 * self.capacity:
            self._often_gone_used -= self._often_gone.popitem(last=False)[1]
        return self._replace(_NOWHERE)

    def _replace(self, left: int) -> int:
        """The paper's REPLACE: one object leaves and is remembered; ``left`` is the list that the new one had left."""
        once = self._once_used
        if once and (once > self._target or (left == _SECOND and once == self._target) or not self._often):
            key, freed = self._once.popitem(last=False)
            self._once_used -= freed
            self._once_gone[key] = freed
            self._once_gone_used += freed
        else:
            key, freed = self._often.popitem(last=False)
            self._often_gone[key] = freed
            self._often_gone_used += freed
        self.used -= freed
        return key

    def _forget_oldest(self) -> None:
        """Bound the memory where it outgrew the paper's: in bytes an eviction may remember more than it forgets."""
        if self._once_gone_used > self._often_gone_used:
            self._once_gone_used -= self._once_gone.popitem(last=False)[1]
        else:
            self._often_gone_used -= self._often_gone.popitem(last=False)[1]

    def _forget(self, key: int) -> None:
        """Drop the id from both memories."""
        if key in self._once_gone:
            self._once_gone_used -= self._once_gone.pop(key)
        elif key in self._often_gone:
            self._often_gone_used -= self._often_gone.pop(key)

    def remove(self, key: int) -> None:
        if key in self._often:
            size = self._often.pop(key)
        else:
            size = self._once.pop(key)
            self._once_used -= size
        self.used -= size

    def __contains__(self, key: object) -> bool:
        return key in self._often or key in self._once

    def __len__(self) -> int:
        return len(self._often) + len(self._once)
