"""Rows of numbers that are only added to: forks of a replay share what is written, and copy a short end of it."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

SEAL_ROWS = 2048
"""A fork seals the rows so far if they are at least so many, and copies them if they are fewer."""


class Record:
    """Rows of ``width`` float64 numbers.

    Attributes:
        latest: The rows since the last sealing, flat; add to its end, and write to no row but the last.
    """

    __slots__ = ("_sealed", "_width", "latest")

    def __init__(self, width: int) -> None:
        self._width = width
        self._sealed: tuple[array[float], ...] = ()
        self.latest = array("d")

    def __len__(self) -> int:
        return (sum(map(len, self._sealed)) + len(self.latest)) // self._width

    def fork(self) -> Record:
        """A record with the same rows; the time it takes does not grow with their number."""
        latest, width = self.latest, self._width
        if len(latest) >= SEAL_ROWS * width:
            last = latest[-width:]
            del latest[-width:]
            self._sealed = (*self._sealed, latest)
            self.latest = last
        twin = Record(width)
        twin._sealed = self._sealed
        twin.latest = self.latest[:]
        return twin

    def rows(self, start: int = 0) -> NDArray[np.float64]:
        """The rows from number ``start`` on, a fresh array of shape (n, width)."""
        left = start * self._width
        parts = []
        for part in (*self._sealed, self.latest):
            if left < len(part):
                parts.append(np.array(part[left:] if left else part))
            left = max(left - len(part), 0)
        return np.concatenate(parts).reshape(-1, self._width) if parts else np.empty((0, self._width))
