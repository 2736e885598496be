"""Reader of any CSV or Parquet table of requests, with a mapping from handrail's columns to the file's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.arrays import compact_names
from ..common.columns import (
    Table,
    check_stamps,
    date_stamps_ns,
    labels,
    names_of,
    time_order,
    whole_numbers,
)
from ..signatures import REQUESTS
from .burstgpt import without_empty
from .columns import ReadOptions, assemble
from .request_trace import MAX_TOKENS, RequestTrace

OPTIONAL = ("session_id", "tenant", "model", "priority", "prefix_blocks", "prefix_block_tokens")
MILLISECONDS = "arrival_ms"
# Stamps beyond three years are a wall clock (seconds since 1970): time then starts with the first request.
WALL_CLOCK_S = 1e8
_MAX_PRIORITY = 2**31
_MAX_ID = 2**62


def read_generic(table: Table, options: ReadOptions, mapping: Mapping[str, str]) -> RequestTrace:
    """Read it; columns that handrail does not know are left alone.

    ``arrival_s`` holds seconds (kept as they are, unless they are a wall clock beyond 10^8 s) or dates and times (then
    the first request is time 0); ``arrival_ms`` may be mapped in its place. ``session_id`` holds whole numbers or any
    labels, empty for none; ``prefix_blocks`` the block ids of a request, separated by spaces, of
    ``prefix_block_tokens`` tokens each.

    Args:
        table: The file.
        options: What to do with failures, order and seeds.
        mapping: From handrail's column names to the file's; names not mapped stand for themselves.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    source = table.source
    column = _resolved(table, mapping)
    stamp = column.get(MILLISECONDS) or column["arrival_s"]
    dates = table.holds_dates(stamp)
    numeric = [
        column[name] for name in ("prompt_tokens", "output_tokens", "priority", "prefix_block_tokens") if name in column
    ]
    texts = [column[name] for name in ("session_id", "tenant", "model", "prefix_blocks") if name in column]
    values = table.read(numeric if dates else [stamp, *numeric], [*texts, stamp] if dates else texts)

    def whole(name: str, low: int, high: int) -> np.ndarray:
        return whole_numbers(table, column[name], values[column[name]], low=low, high=high)

    notes: dict[str, Any] = {"format": "generic"}
    if dates:
        stamps = date_stamps_ns(table, stamp, values[stamp])
    else:
        stamps = values[stamp].to_numpy() / (1000.0 if MILLISECONDS in column else 1.0)
        check_stamps(stamps, source, table.place, stamp)
    tokens = [whole(name, 0, MAX_TOKENS) for name in ("prompt_tokens", "output_tokens")]
    order = time_order(stamps, source, table.place, stamp, sort=options.sort)
    if order is not None:
        stamps = stamps[order]
    if dates:
        notes["origin"] = str(np.datetime64(int(stamps[0]), "ns"))
        arrival_s = (stamps - stamps[0]) / 1e9
    elif stamps[0] > WALL_CLOCK_S:
        notes["origin_s"] = float(stamps[0])
        arrival_s = stamps - stamps[0]
    else:
        arrival_s = np.array(stamps)

    optional: dict[str, Any] = {}
    if "session_id" in column:
        optional["session_id"] = _session_ids(values[column["session_id"]])
    for name in ("tenant", "model"):
        if name in column:
            optional[name], optional[f"{name}_names"] = compact_names(
                *names_of(table, column[name], values[column[name]])
            )
    if "priority" in column:
        optional["priority"] = whole("priority", -_MAX_PRIORITY, _MAX_PRIORITY)
    if "prefix_blocks" in column:
        if "prefix_block_tokens" not in column:
            raise source.error("prefix_blocks need a column prefix_block_tokens with the tokens a block; add it")
        optional["prefix_blocks"] = _prefix_blocks(table, column["prefix_blocks"], values[column["prefix_blocks"]])
        optional["prefix_block_tokens"] = _one_size(
            table, column["prefix_block_tokens"], whole("prefix_block_tokens", 1, MAX_TOKENS)
        )
    return assemble(
        source,
        options,
        arrival_s=arrival_s,
        prompt_tokens=tokens[0],
        output_tokens=tokens[1],
        order=order,
        notes=notes,
        **optional,
    )


def _resolved(table: Table, mapping: Mapping[str, str]) -> dict[str, str]:
    """Which column of the file each of handrail's columns is read from."""
    known = (*REQUESTS, *OPTIONAL, MILLISECONDS)
    for name in mapping:
        if name not in known:
            raise table.source.error(f"--map knows no column {name!r}; it maps {', '.join(known)}")
    if MILLISECONDS in mapping and "arrival_s" in mapping:
        raise table.source.error("--map has both arrival_s and arrival_ms; give one")
    column = dict(mapping)
    required = [n for n in REQUESTS if n not in mapping and not (n == "arrival_s" and MILLISECONDS in mapping)]
    column.update({name: name for name in required})
    column.update({name: name for name in OPTIONAL if name not in mapping and name in table.header})
    for name, found in column.items():
        table.require([found], f"name it with --map {name}=COLUMN")
    return column


def _session_ids(values: pa.ChunkedArray) -> np.ndarray:
    """Whole numbers of -1 or more as they are, other labels numbered in order of first appearance; empty is -1."""
    codes, names = labels(values)
    numbers = np.empty(len(names), np.int64)
    for code, name in enumerate(names):
        if name == "":
            numbers[code] = -1
        elif name == "-1" or (name.isascii() and name.isdigit() and len(name) < 19 and str(int(name)) == name):
            numbers[code] = int(name)
        else:
            return without_empty(codes, names)
    return numbers[codes]


def _prefix_blocks(table: Table, field: str, values: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    ids: list[int] = []
    lengths: list[int] = []
    for row, text in enumerate(values.cast(pa.string()).to_pylist()):
        parts = text.split()
        if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) < _MAX_ID for part in parts):
            problem = f"{text[:40]!r} is not a list of whole numbers separated by spaces; mend or drop the row"
            raise table.source.bad_value(table.place(row), field, problem)
        ids += [int(part) for part in parts]
        lengths.append(len(parts))
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    return offsets, np.array(ids, np.int64)


def _one_size(table: Table, field: str, sizes: np.ndarray) -> int:
    other = sizes != sizes[0]
    if other.any():
        row = int(np.argmax(other))
        problem = f"{sizes[row]} where the rows before have {sizes[0]}; one block size a trace is read"
        raise table.source.bad_value(table.place(row), field, problem)
    return int(sizes[0])
