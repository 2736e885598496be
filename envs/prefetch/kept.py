"""A few things that took long to work out, kept for the next one who asks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """Keeps what was asked for last.

    Args:
        most: How many things at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, Thing] = OrderedDict()

    def get(self, slot: Hashable, make: Callable[[], Thing]) -> Thing:
        """What is kept under ``slot``; made where there is nothing yet."""
        if slot not in self._things:
            self._things[slot] = make()
            if len(self._things) > self._most:
                self._things.popitem(last=False)
        self._things.move_to_end(slot)
        return self._things[slot]
