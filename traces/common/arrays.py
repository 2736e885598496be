"""What the canonical traces make of their columns: read-only arrays, checks by row, hashes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError

Ints = NDArray[np.int64]


def compact_names(codes: Ints, names: tuple[str, ...]) -> tuple[Ints, tuple[str, ...]]:
    """The same labels with only the names in use, sorted, and the codes renumbered to match."""
    used = np.unique(codes)
    order = sorted(used.tolist(), key=lambda code: names[code])
    renumber = np.zeros(len(names), np.int64)
    renumber[order] = np.arange(len(order))
    return renumber[codes], tuple(names[code] for code in order)


def joined_names(parts: Sequence[tuple[int, Ints | None, tuple[str, ...]]]) -> tuple[Ints, tuple[str, ...]]:
    """Codes and names of several traces one after the other, given as (length, codes, names); no codes are name ""."""
    names: list[str] = []
    joined = []
    for length, codes, own in parts:
        own = own if codes is not None else ("",)
        names += [name for name in own if name not in names]
        renumber = np.array([names.index(name) for name in own], np.int64)
        joined.append(renumber[np.zeros(length, np.int64) if codes is None else codes])
    return np.concatenate(joined), tuple(names)


def checked_names(column: str, codes: Ints | None, names: Iterable[object]) -> tuple[str, ...]:
    """The names that the codes of a column stand for: distinct, in one line each, one for every code.

    Raises:
        TraceError: Names without codes, doubled names, or a code without a name.
    """
    checked = tuple(str(name) for name in names)
    if codes is None:
        if checked:
            raise TraceError(f"trace: {column}_names are given without the column {column}")
        return checked
    if len(set(checked)) != len(checked):
        raise TraceError(f"trace: {column}_names must be distinct")
    if any(ord(c) < 32 for name in checked for c in name):
        raise TraceError(f"trace: {column}_names must hold no control characters or line ends")
    refuse((codes < 0) | (codes >= len(checked)), column, f"is no index into {column}_names")
    return checked


def frozen(values: Any, dtype: type, column: str, n: int) -> NDArray[Any]:
    """A read-only array of the right type, copied only where somebody else could still write to it."""
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != n:
        raise TraceError(f"trace: column {column} has shape {array.shape}, expected ({n},)")
    if dtype is np.int64 and array.size and array.dtype.kind not in "iu":
        raise TraceError(f"trace: column {column} must hold whole numbers, got {array.dtype}")
    if array.size and array.dtype.kind not in "iuf":
        raise TraceError(f"trace: column {column} must hold numbers, got {array.dtype}")
    if array.dtype != dtype:
        array = array.astype(dtype)
    elif array.flags.writeable or array.base is not None:
        array = array.copy()
    array.flags.writeable = False
    return array


def refuse(bad: NDArray[np.bool_], column: str, problem: str) -> None:
    """Raise with the first row where ``bad`` is true."""
    if bad.any():
        raise TraceError(f"trace: row {int(np.argmax(bad)) + 1}: {column} {problem}")


def check_factor(factor: float) -> None:
    """Refuse a factor on the arrival rate that is no finite number above 0."""
    if not (math.isfinite(factor) and factor > 0):
        raise TraceError(f"a rate factor must be a finite number above 0, got {factor}")


def freeze_state(state: dict[str, Any]) -> None:
    """Make the arrays of an unpickled trace read-only again, which NumPy's pickles forget."""
    for value in state.values():
        for array in value if isinstance(value, tuple) else (value,):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False


def feed(digest: Any, label: str, array: NDArray[Any]) -> None:
    """Add a labelled column to a hash, the same on machines of either byte order."""
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    digest.update(f"\n{label} {len(array)}\n".encode())
    digest.update(little_endian.tobytes())
