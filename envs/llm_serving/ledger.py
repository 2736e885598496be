"""Numbers that are written once and never change, so that a fork of a simulator shares all that has been written."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

# A part of fewer values than this is joined with the next one, so that many forks do not leave many tiny parts.
_SMALL = 4096


class Ledger:
    """Rows of float64, appended at the end.

    What a fork has to copy is nothing: the rows so far become a frozen part that both go on from.

    Attributes:
        tail: The rows since the last fork; append to it by ``ledger.tail.extend(row)``.
    """

    __slots__ = ("_past", "tail")

    def __init__(self) -> None:
        self.tail = array("d")
        self._past: tuple[tuple | None, array[float]] | None = None  # (what came before, a frozen part)

    def fork(self) -> Ledger:
        """A ledger with the same rows; neither sees what the other appends from now on."""
        self._freeze()
        twin = Ledger()
        twin._past = self._past
        return twin

    def rows(self, width: int) -> NDArray[np.float64]:
        """All rows, shape (k, width); not to be written to."""
        self._freeze()
        parts: list[NDArray[np.float64]] = []
        past = self._past
        while past is not None:
            past, part = past
            parts.append(np.frombuffer(part, dtype=np.float64))
        if not parts:
            return np.empty((0, width))
        values = parts[0] if len(parts) == 1 else np.concatenate(parts[::-1])
        return values.reshape(-1, width)

    def _freeze(self) -> None:
        tail, past = self.tail, self._past
        if not tail:
            return
        self.tail = array("d")
        if past is not None and len(past[1]) < _SMALL and len(tail) < _SMALL:
            past, tail = past[0], past[1] + tail
        self._past = (past, tail)
