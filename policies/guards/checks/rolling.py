"""The sum of the last so many values."""

from __future__ import annotations

import math


class Rolling:
    """A window over the latest values.

    Attributes:
        count: How many values it holds, at most its length.
        total: Their sum.
    """

    __slots__ = ("_next", "_values", "count", "total")

    def __init__(self, length: int) -> None:
        self._values = [0.0] * length
        self._next = 0
        self.count = 0
        self.total = 0.0

    def push(self, value: float) -> None:
        """Take in a value; the oldest leaves once the window is full."""
        self.total += value - self._values[self._next]
        self._values[self._next] = value
        self._next += 1
        if self.count < len(self._values):
            self.count += 1
        if self._next == len(self._values):
            self._next = 0
            self.total = math.fsum(self._values)  # once a round, so that rounding does not build up
