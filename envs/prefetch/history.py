"""Columns that only grow: what a fork shares with its original, and a short open end that it copies."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

SEALED_AT = 4096
"""An open end of so many values is sealed by the next fork; a shorter one is copied."""


class History(array):
    """An array that is appended to. Its older part may lie in sealed chunks, which never change again.

    Until the first fork there are no chunks and it is the array that it looks like. `fork` seals a long open end, so
    that a fork costs the same whatever has finished before.

    Attributes:
        sealed: The chunks, oldest first.
        sealed_length: Values in them.
    """

    sealed: tuple[NDArray[Any], ...] = ()
    sealed_length: int = 0

    def __new__(cls, typecode: str, values: Iterable[Any] = ()) -> Self:
        """An array of these values; ``typecode`` as arrays have it."""
        return super().__new__(cls, typecode, values)

    def fork(self) -> Self:
        """One that goes on alike and apart."""
        if super().__len__() >= SEALED_AT:
            self.sealed = (*self.sealed, np.array(array(self.typecode, self)))
            self.sealed_length += super().__len__()
            del self[:]
        fork = type(self)(self.typecode, self)
        fork.sealed, fork.sealed_length = self.sealed, self.sealed_length
        return fork

    def values(self) -> NDArray[Any]:
        """All values, shape (n,)."""
        return np.concatenate((*self.sealed, np.array(array(self.typecode, self), dtype=self.typecode)))

    def since(self, first: int) -> list[Any]:
        """The values from place ``first`` of the whole history on."""
        if first >= self.sealed_length:
            return self[first - self.sealed_length :].tolist()
        return self.values()[first:].tolist()
