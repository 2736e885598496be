"""Reader of any CSV or Parquet table of accesses, with a mapping from handrail's columns to the file's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..common.arrays import compact_names
from ..common.columns import Table, check_stamps, date_stamps_ns, labels, names_of, time_order, whole_numbers
from ..signatures import ACCESSES
from .access_trace import BACKINGS, MAX_OBJECT_BYTES, AccessTrace
from .columns import PERMUTED, ReadOptions, assemble

Ints = NDArray[np.int64]

OPTIONAL = ("size_bytes", "is_write", "tenant")
# One value a file, on every row, so that a table alone says all that the trace knew.
CONSTANTS = ("backing", "origin_s")
COLUMNS = (*ACCESSES, *OPTIONAL, *CONSTANTS)
# Where the file names no sizes: a page.
ASSUMED_BYTES = 4_096
# Stamps beyond three years are a wall clock (seconds since 1970): time then starts with the first access.
WALL_CLOCK_S = 1e8
_WRITES = {"1": True, "true": True, "w": True, "write": True, "0": False, "false": False, "r": False, "read": False}
_KEY_END = 2**63


def read_generic(table: Table, mapping: Mapping[str, str], options: ReadOptions) -> AccessTrace:
    """Read it; columns that handrail does not know are left alone.

    ``arrival_s`` holds seconds (kept as they are, unless they are a wall clock beyond 10^8 s) or dates and times (then
    the first access is time 0). ``key`` holds whole numbers, kept as they are, or, where the first one is none, any
    text, numbered in an order that tells nothing (``backing`` is ``seen`` then). ``is_write`` is 1 or 0, true or false,
    write or read. ``backing`` is ``all`` or ``seen``, the same on every row. A key that two tenants have is one object.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    column = _resolved(table, mapping)
    stamp = column["arrival_s"]
    dates = table.holds_dates(stamp)
    as_text = [column[name] for name in ("key", "is_write", "tenant", "backing") if name in column]
    numeric = [column[name] for name in ("size_bytes", "origin_s") if name in column]
    values = table.read(numeric if dates else [stamp, *numeric], [*as_text, stamp] if dates else as_text)
    key, text_keys = _keys(table, column["key"], values[column["key"]], options)
    n = len(key)
    arrival_s, order, notes = _arrivals(table, stamp, values, dates=dates, sort=options.sort)
    columns: dict[str, Any] = {"key": key, "backing": "seen" if text_keys else "all"}
    if text_keys:
        notes[PERMUTED] = options.seed
    if "size_bytes" in column:
        field = column["size_bytes"]
        columns["size_bytes"] = whole_numbers(table, field, values[field], low=1, high=MAX_OBJECT_BYTES)
    else:
        columns["size_bytes"] = np.full(n, ASSUMED_BYTES)
        notes["assumed_size_bytes"] = ASSUMED_BYTES
    if "is_write" in column:
        columns["is_write"] = _writes(table, column["is_write"], values[column["is_write"]])
    if "tenant" in column:
        named = names_of(table, column["tenant"], values[column["tenant"]])
        columns["tenant"], columns["tenant_names"] = compact_names(*named)
    if "backing" in column:
        columns["backing"] = _backing(table, column["backing"], values[column["backing"]])
    if "origin_s" in column:
        origins_s = values[column["origin_s"]].to_numpy()
        check_stamps(origins_s, table.source, table.place, column["origin_s"])
        _check_constant(table, column["origin_s"], origins_s, [f"{value:g}" for value in origins_s[:1]])
        notes["origin_s"] = float(origins_s[0])
    return assemble(table.source, arrival_s=arrival_s, order=order, notes=notes, **columns)


def _resolved(table: Table, mapping: Mapping[str, str]) -> dict[str, str]:
    """Which column of the file each of handrail's columns is read from."""
    for name in mapping:
        if name not in COLUMNS:
            raise table.source.error(f"--map knows no column {name!r}; it maps {', '.join(COLUMNS)}")
    column = {name: mapping.get(name, name) for name in ACCESSES}
    column.update(mapping)
    column.update({name: name for name in COLUMNS if name not in column and name in table.header})
    for name, found in column.items():
        table.require([found], f"name it with --map {name}=COLUMN")
        other = next(known for known in column if column[known] == found)
        if other != name:
            raise table.source.error(f"--map: {other} and {name} are both read from column {found!r}; name another")
    return column


def _keys(table: Table, field: str, values: pa.ChunkedArray, options: ReadOptions) -> tuple[Ints, bool]:
    """Keys, and whether they were text."""
    codes, names = labels(values)
    numbers = [_key_number(name) for name in names]
    if numbers[codes[0]] is None:
        blank = np.array([not name.strip() for name in names])[codes]
        _refuse(table, field, blank, "is empty; mend or drop the row")
        return options.generator(1).permutation(len(names))[codes].astype(np.int64), True
    known = np.array([number is not None for number in numbers])
    row = int(np.argmax(~known[codes]))
    shown = names[codes[row]][:40]
    _refuse(table, field, ~known[codes], f"{shown!r} is not a whole number of 0 to 2^63 - 1; mend or drop the row")
    return np.array(numbers, np.int64)[codes], False


def _key_number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < _KEY_END else None


def _writes(table: Table, field: str, values: pa.ChunkedArray) -> NDArray[np.bool_]:
    codes, names = labels(values)
    flags = [_WRITES.get(name.strip().lower()) for name in names]
    unknown = np.array([flag is None for flag in flags])[codes]
    shown = names[codes[int(np.argmax(unknown))]][:40]
    _refuse(table, field, unknown, f"{shown!r} is neither write (1, true) nor read (0, false); mend or drop the row")
    return np.array(flags, np.bool_)[codes]


def _backing(table: Table, field: str, values: pa.ChunkedArray) -> str:
    codes, names = labels(values)
    unknown = np.array([name not in BACKINGS for name in names])[codes]
    shown = names[codes[int(np.argmax(unknown))]][:40]
    _refuse(table, field, unknown, f"{shown!r} is neither all nor seen; mend or drop the row")
    _check_constant(table, field, codes, names)
    return names[codes[0]]


def _check_constant(table: Table, field: str, values: NDArray[Any], names: tuple[str, ...] | list[str]) -> None:
    problem = f"is not {names[0]} as in the rows before; one value a file is read"
    _refuse(table, field, values != values[0], problem)


def _refuse(table: Table, field: str, bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        raise table.source.bad_value(table.place(int(np.argmax(bad))), field, problem)


def _arrivals(
    table: Table, field: str, values: dict[str, pa.ChunkedArray], *, dates: bool, sort: bool
) -> tuple[NDArray[np.float64], Ints | None, dict[str, Any]]:
    """Arrival times in order, the order that sorts the file's rows, and the notes so far."""
    notes: dict[str, Any] = {"format": "generic", "origin_s": 0.0}
    if dates:
        stamps = date_stamps_ns(table, field, values[field])
    else:
        stamps = values[field].to_numpy()
        check_stamps(stamps, table.source, table.place, field)
    order = time_order(stamps, table.source, table.place, field, sort=sort)
    if order is not None:
        stamps = stamps[order]
    if dates:
        notes["origin"] = str(np.datetime64(int(stamps[0]), "ns"))
        return (stamps - stamps[0]) / 1e9, order, notes
    if stamps[0] > WALL_CLOCK_S:
        notes["origin_s"] = float(stamps[0])
        return stamps - stamps[0], order, notes
    return np.array(stamps), order, notes
