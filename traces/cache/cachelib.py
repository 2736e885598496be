"""Readers of CacheLib's traces: block requests (Tectonic, as in Baleen, FAST 2024) and key-value operations.

Both aggregate: ``op_count`` says how often a line happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..common.arrays import compact_names
from ..common.columns import Place, Table, labels, names_of, whole_numbers
from .access_trace import MAX_OBJECT_BYTES, AccessTrace
from .blocks import MAX_REQUEST_BYTES, split_into_blocks
from .columns import PERMUTED, PERMUTED_BLOCKS, ReadOptions, assemble, whole_second_arrivals

Ints = NDArray[np.int64]

STAMP, OPS = "op_time", "op_count"
BLOCK, SIZE, OFFSET, NAMESPACE, OP_NAME = "block_id", "io_size", "io_offset", "user_namespace", "op_name"
KEY, OP, VALUE_SIZE, KEY_SIZE, USECASE = "key", "op", "size", "key_size", "usecase"
SEGMENT_BYTES = 131_072  # what Baleen caches of a block
BLOCK_ROOM = 1 << 20  # keys that are kept for the segments of one block
# A key-value file without times: its operations are spaced evenly at this rate.
RATE_WITHOUT_TIMES = 1_000.0
_MAX_OPS = 10**6
_MAX_CLOCK_S = 10**11
_READS, _WRITES = ("get",), ("put", "set", "add", "replace", "cas")


def read_cachelib_block(table: Table, options: ReadOptions) -> AccessTrace:
    """Read a block trace: one access a segment of a block, all of one request in the same moment.

    Block ids are text and are numbered in an order that tells nothing; the key is that number x 2^20 + segment, so the
    segments of a block are neighbours. The tenant is ``user_namespace``, and ids of two namespaces never coincide. Only
    ``get...`` (reads) and ``put...`` (writes) are kept.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    source = table.source
    wanted = (STAMP, BLOCK, SIZE, OFFSET, OP_NAME)
    table.require(wanted, "it is not a CacheLib block trace; give the right --format")
    names = [NAMESPACE] if NAMESPACE in table.header else []
    ops = [OPS] if OPS in table.header else []
    for column in (*names, *ops):
        table.require([column], "name each column once")
    values = table.read([STAMP, SIZE, OFFSET, *ops], [BLOCK, OP_NAME, *names])
    size = whole_numbers(table, SIZE, values[SIZE], low=0, high=MAX_REQUEST_BYTES)
    offset = whole_numbers(table, OFFSET, values[OFFSET], low=0, high=MAX_REQUEST_BYTES)
    writes, kept, notes = _operations(table, OP_NAME, values)
    empty = int((kept & (size == 0)).sum())
    if empty:
        notes["dropped_empty"] = empty
    rows = _repeated(table, values, np.flatnonzero(kept & (size > 0)), ops)
    arrival_s, order, times = _arrivals(table, values, rows, options)
    rows = rows if order is None else rows[order]
    segment_bytes = options.block_bytes or SEGMENT_BYTES
    place = _place_of(table, rows)
    request, segment = split_into_blocks(source, place, SIZE, offset[rows], size[rows], segment_bytes)
    if int(segment.max()) >= BLOCK_ROOM:
        row = int(rows[request[np.argmax(segment)]])
        problem = f"{offset[row]:,} is too far into its block for segments of {segment_bytes:,} bytes; take larger ones"
        raise source.bad_value(table.place(row), OFFSET, problem)
    columns = _tenants(table, NAMESPACE, values, rows[request]) if names else {}
    ids = _numbered(values[BLOCK], columns.get("tenant"), rows[request], options)
    return assemble(
        source,
        arrival_s=arrival_s[request],
        order=None,
        notes={
            "format": "cachelib-block",
            **notes,
            **times,
            "requests": len(rows),
            "block_bytes": segment_bytes,
            PERMUTED_BLOCKS: options.seed,
        },
        key=ids * BLOCK_ROOM + segment,
        size_bytes=np.full(len(request), segment_bytes),
        is_write=writes[rows[request]],
        backing="all",
        **columns,
    )


def read_cachelib_kv(table: Table, options: ReadOptions) -> AccessTrace:
    """Read a key-value trace: GET-like operations read, SET-like ones write, DELETE and others are dropped.

    Keys are numbered in an order that tells nothing. The size is that of key and value; where a line has none (a miss),
    it is the largest that the file has for that key. The tenant is ``usecase`` where there is that column, and keys of
    two tenants never coincide. Files without ``op_time`` get evenly spaced times, 1,000 operations a second.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    table.require((KEY, OP, VALUE_SIZE), "it is not a CacheLib key-value trace; give the right --format")
    optional = [column for column in (STAMP, OPS, KEY_SIZE, USECASE) if column in table.header]
    for column in optional:
        table.require([column], "name each column once")
    names = [USECASE] if USECASE in optional else []
    ops = [OPS] if OPS in optional else []
    values = table.read([VALUE_SIZE, *(c for c in optional if c != USECASE)], [KEY, OP, *names])
    value_bytes = whole_numbers(table, VALUE_SIZE, values[VALUE_SIZE], low=0, high=MAX_OBJECT_BYTES // 2)
    key_bytes = np.zeros(len(value_bytes), np.int64)
    if KEY_SIZE in optional:
        key_bytes = whole_numbers(table, KEY_SIZE, values[KEY_SIZE], low=0, high=MAX_OBJECT_BYTES // 2)
    writes, kept, notes = _operations(table, OP, values)
    rows = _repeated(table, values, np.flatnonzero(kept), ops)
    if STAMP in optional:
        arrival_s, order, times = _arrivals(table, values, rows, options)
        rows = rows if order is None else rows[order]
    else:
        arrival_s = np.arange(len(rows)) / RATE_WITHOUT_TIMES
        times = {"origin_s": 0.0, "assumed_rate_per_s": RATE_WITHOUT_TIMES}
    columns = _tenants(table, USECASE, values, rows) if names else {}
    ids = _numbered(values[KEY], columns.get("tenant"), rows, options)
    largest = np.zeros(int(ids.max()) + 1, np.int64)
    np.maximum.at(largest, ids, value_bytes[rows])
    filled = np.where(value_bytes[rows] > 0, value_bytes[rows], largest[ids])
    return assemble(
        table.source,
        arrival_s=arrival_s,
        order=None,
        notes={"format": "cachelib-kv", **notes, **times, PERMUTED: options.seed},
        key=ids,
        size_bytes=np.maximum(filled + key_bytes[rows], 1),
        is_write=writes[rows],
        backing="seen",
        **columns,
    )


def _operations(
    table: Table, field: str, values: dict[str, pa.ChunkedArray]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
    """Which rows write and which are kept, and the note that counts the others by name."""
    code, names = names_of(table, field, values[field])
    lower = [name.strip().lower() for name in names]
    write = np.array([name.startswith(_WRITES) for name in lower])
    keep = write | np.array([name.startswith(_READS) for name in lower])
    counts = np.bincount(code, minlength=len(names))
    dropped = {name: int(counts[i]) for i, name in enumerate(names) if not keep[i]}
    if not keep[code].any():
        seen = ", ".join(name[:40] for name in names[:6])
        raise table.source.error(f"field {field!r}: no operation reads or writes (found: {seen}); give the right file")
    return write[code], keep[code], {"dropped_ops": dropped} if dropped else {}


def _repeated(table: Table, values: dict[str, pa.ChunkedArray], rows: Ints, ops: list[str]) -> Ints:
    """The rows, each as often as its line says that it happened."""
    if not ops:
        table.source.check_rows(len(rows))
        return rows
    counts = whole_numbers(table, OPS, values[OPS], low=0, high=_MAX_OPS)[rows]
    table.source.check_rows(int(counts.sum()))
    return np.repeat(rows, counts)


def _arrivals(
    table: Table, values: dict[str, pa.ChunkedArray], rows: Ints, options: ReadOptions
) -> tuple[NDArray[np.float64], Ints | None, dict[str, Any]]:
    stamps = whole_numbers(table, STAMP, values[STAMP], low=0, high=_MAX_CLOCK_S)
    return whole_second_arrivals(stamps[rows], table.source, _place_of(table, rows), STAMP, options)


def _place_of(table: Table, rows: Ints) -> Place:
    return lambda row: table.place(int(rows[row]))


def _tenants(table: Table, field: str, values: dict[str, pa.ChunkedArray], rows: Ints) -> dict[str, Any]:
    code, names = names_of(table, field, values[field])
    codes, used = compact_names(code[rows], names)
    return {"tenant": codes, "tenant_names": used}


def _numbered(ids: pa.ChunkedArray, tenant: Ints | None, rows: Ints, options: ReadOptions) -> Ints:
    """Text ids of the rows as numbers 0..distinct - 1, of each tenant its own, by a permutation drawn from the seed."""
    code, names = labels(ids)
    code = code[rows] if tenant is None else tenant * len(names) + code[rows]
    distinct, rank = np.unique(code, return_inverse=True)
    return options.generator(1).permutation(len(distinct))[rank.ravel()].astype(np.int64)
