"""Checks and conversions of a file's columns that the readers of all domains share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .source import Source

Place = Callable[[int], str]
MAX_STAMP_S = 1e11  # 3,000 years: a larger number is a stamp in milliseconds or finer
_DATE_START = re.compile(r"\s*\d{4}-\d\d-\d\d[ T]\d\d:")
_STAMP_FORM = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")


class Table(Protocol):
    """What readers need of a file with named columns."""

    source: Source
    header: tuple[str, ...]

    def require(self, columns: Sequence[str], mend: str) -> None: ...
    def read(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, pa.ChunkedArray]: ...
    def place(self, row: int) -> str: ...
    def holds_dates(self, column: str) -> bool: ...


def whole_numbers(table: Table, column: str, values: pa.ChunkedArray, *, low: int, high: int) -> NDArray[np.int64]:
    """A column of finite floats as int64, each whole and within ``low`` and ``high``.

    Raises:
        TraceError: With the line of the first value that is not.
    """
    numbers = values.to_numpy()
    for bad, problem in (
        (numbers < low, "is negative" if low == 0 else f"is below {low}"),
        (numbers > high, f"is above {high:,}"),
        (numbers != np.floor(numbers), "is not a whole number"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise table.source.bad_value(table.place(row), column, f"{numbers[row]:g} {problem}; mend or drop the row")
    return numbers.astype(np.int64)


def numbers_of(
    table: Table,
    column: str,
    values: pa.ChunkedArray,
    *,
    zero: bool = False,
    optional: bool = False,
    infinite: bool = False,
) -> NDArray[np.float64]:
    """A text column as float64 above 0, shape (n,).

    Args:
        table: The file, for messages.
        column: The column's name in it.
        values: The column as text.
        zero: 0 is allowed.
        optional: Nothing (or ``nan``) is allowed and becomes NaN.
        infinite: ``inf`` is allowed.

    Raises:
        TraceError: With the line of the first value that is no such number.
    """
    codes, texts = labels(values)
    numbers = np.array([_number(text, optional) for text in texts])[codes]
    bad = (numbers < 0) | ((numbers == 0) & (not zero)) | (np.isinf(numbers) & (not infinite))
    if bad.any():
        row = int(np.argmax(bad))
        shown = texts[codes[row]][:40]
        wanted = "a number" if infinite else "a finite number"
        bound = "of 0 or more" if zero else "above 0"
        raise table.source.bad_value(table.place(row), column, f"{shown!r} is not {wanted} {bound}; mend or drop it")
    return numbers


def _number(text: str, optional: bool) -> float:
    """The number, NaN for nothing where that is allowed, -1 for what is no number."""
    text = text.strip()
    if optional and text.lower() in ("", "nan"):
        return math.nan
    try:
        number = -1.0 if "_" in text else float(text)
    except ValueError:
        return -1.0
    return -1.0 if math.isnan(number) else number


def labels(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Text labels as int64 codes and their names, in order of first appearance."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    merged = encoded.unify_dictionaries().combine_chunks()
    array = merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged
    codes = array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    used, first = np.unique(codes, return_index=True)
    order = used[np.argsort(first, kind="stable")]
    renumber = np.zeros(len(array.dictionary), np.int64)
    renumber[order] = np.arange(len(order))
    names = array.dictionary.to_pylist()
    return renumber[codes], tuple(names[code] for code in order.tolist())


def names_of(table: Table, column: str, values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """``labels`` of a column of names, such as tenants.

    Raises:
        TraceError: A name with a line end or another control character in it (mostly a quote that nobody closed).
    """
    codes, names = labels(values)
    for code, name in enumerate(names):
        if any(ord(c) < 32 for c in name):
            row = int(np.argmax(codes == code))
            raise table.source.bad_value(
                table.place(row), column, "holds a line end or control character; mend the row"
            )
    return codes, names


def looks_like_date(text: str) -> bool:
    return _DATE_START.match(text) is not None


def time_order(
    stamps: NDArray[Any], source: Source, place: Place, field: str, *, sort: bool
) -> NDArray[np.int64] | None:
    """``None`` where the stamps never go back, else (with ``sort``) the order that sorts them, ties in file order."""
    back = np.diff(stamps) < 0
    if not back.any():
        return None
    if not sort:
        raise source.backwards(place(int(np.argmax(back)) + 1), field)
    return np.argsort(stamps, kind="stable")


def check_stamps(stamp_s: NDArray[np.float64], source: Source, place: Place, field: str) -> None:
    """Refuse stamps (seconds, finite) that are negative or beyond any clock in seconds."""
    for bad, problem in (
        (stamp_s < 0, "is negative; times count up from 0"),
        (stamp_s > MAX_STAMP_S, "is too large for seconds; milliseconds are read with --map arrival_ms=COLUMN"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise source.bad_value(place(row), field, f"{stamp_s[row]:g} s {problem}")


def date_stamps_ns(table: Table, column: str, values: pa.ChunkedArray) -> np.ndarray:
    """Date-and-time text as nanoseconds since 1970 (UTC where no zone is given), int64, shape (n,)."""
    text = values.cast(pa.string())
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            return pc.cast(text, kind).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            continue
    zoned = [_zone(value) for value in text.to_pylist()]
    for row, value in enumerate(text.to_pylist()):
        if not _STAMP_FORM.fullmatch(value) or not _castable(value):
            problem = f"{value[:40]!r} is not a date and time such as 2023-11-16 18:15:46.6805900; mend or drop the row"
            raise table.source.bad_value(table.place(row), column, problem)
        if zoned[row] != zoned[0]:
            raise table.source.bad_value(table.place(row), column, "some stamps have a time zone and some have not")
    raise table.source.error(f"field {column!r}: the stamps cannot be read as dates and times; export them again")


def _zone(value: str) -> bool:
    match = _STAMP_FORM.fullmatch(value)
    return bool(match and match.group(2))


def _castable(value: str) -> bool:
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            pc.cast(pa.scalar(value), kind)
        except pa.ArrowInvalid:
            continue
        return True
    return False
