"""Reader of the Mooncake traces (Qin et al., "Mooncake", FAST 2025; arXiv:2407.00079).

JSON lines ``{"timestamp": ms, "input_length": .., "output_length": .., "hash_ids": [..]}``; each hash id stands for 512
tokens of the prompt and for all that comes before them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..common.columns import check_stamps, time_order
from ..common.source import Source
from ..common.spread import batch_width_s, spread_ties
from ..signatures import MOONCAKE
from .columns import ReadOptions, assemble
from .request_trace import MAX_TOKENS, RequestTrace

BLOCK_TOKENS = 512
# The recording wrote stamps in batches about every 3,000 ms.
BATCH_S = 3.0
# Ids are numbered in order of first appearance: "the next id" would tell the future, so they are permuted.
PERMUTATION_SEED = 512
STAMP, PROMPT, OUTPUT, BLOCKS = "timestamp", "input_length", "output_length", "hash_ids"
_MAX_ID = 2**62
_UTF8_BOM_CHARACTER = "\ufeff"


def read_mooncake(source: Source, options: ReadOptions, *, permute: bool = True) -> RequestTrace:
    """Read it; time 0 is the first batch, requests are spread uniformly within their batch.

    Spreading is left out where ``spread_seed`` is ``None`` or the stamps are not batched. Hash ids are permuted with a
    fixed seed unless ``permute`` is false.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    lines: list[int] = []
    numbers: list[tuple[float, int, int]] = []
    ids: list[int] = []
    lengths: list[int] = []
    with_blocks = False
    start, line = 0, 0
    data = source.data
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        raw, start, line = data[start:end], end + 1, line + 1
        if not raw or raw.isspace():
            continue
        place = f"line {line} (data row {len(lines) + 1})"
        row = _parsed(source, raw, place)
        numbers.append(_numbers(source, row, place))
        blocks = _blocks(source, row, numbers[-1][1], place)
        with_blocks = with_blocks or BLOCKS in row
        ids += blocks
        lengths.append(len(blocks))
        lines.append(line)
        if len(lines) > source.max_rows:
            source.check_rows(len(lines))
    source.check_rows(len(lines))

    def place_of(row: int) -> str:
        return f"line {lines[row]} (data row {row + 1})"

    stamp_s = np.array([stamp / 1000 for stamp, _, _ in numbers])
    check_stamps(stamp_s, source, place_of, STAMP)
    order = time_order(stamp_s, source, place_of, STAMP, sort=options.sort)
    if order is not None:
        stamp_s = stamp_s[order]
    stamp_s = stamp_s - stamp_s[0]
    notes: dict[str, Any] = {"format": "mooncake"}
    arrival_s = stamp_s
    if options.spread_seed is not None and (width_s := batch_width_s(stamp_s, BATCH_S)):
        # A batch may come a millisecond early: it must not be overtaken by the one before.
        distinct, batch = np.unique(stamp_s, return_inverse=True)
        room_s = np.minimum(np.diff(distinct, append=np.inf), width_s)
        arrival_s = spread_ties(stamp_s, room_s[batch], options.generator(0))
        notes["spread_s"] = round(width_s, 3)
    optional: dict[str, Any] = {}
    if with_blocks:
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
        blocks = permuted(ids) if permute else np.array(ids, np.int64)
        optional = {"prefix_blocks": (offsets, blocks), "prefix_block_tokens": BLOCK_TOKENS}
    return assemble(
        source,
        options,
        arrival_s=arrival_s,
        prompt_tokens=np.array([prompt for _, prompt, _ in numbers], np.int64),
        output_tokens=np.array([output for _, _, output in numbers], np.int64),
        order=order,
        notes=notes,
        **optional,
    )


def permuted(ids: list[int]) -> np.ndarray:
    """Ids renumbered 0..distinct-1 by a permutation with a fixed seed, so that their order tells nothing."""
    distinct, ranks = np.unique(np.array(ids, np.int64), return_inverse=True)
    return np.random.default_rng(PERMUTATION_SEED).permutation(len(distinct))[ranks].astype(np.int64)


def _parsed(source: Source, raw: bytearray, place: str) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8").lstrip(_UTF8_BOM_CHARACTER))
    except UnicodeDecodeError:
        raise source.error(f"{place}: is not UTF-8 text; export the file again") from None
    except (ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0]
        raise source.error(f"{place}: is not JSON ({problem}); one object a line is expected") from None
    if not isinstance(row, dict):
        raise source.error(f"{place}: is a JSON {type(row).__name__}; one object a line is expected")
    for field in MOONCAKE:
        if field not in row:
            raise source.bad_value(place, field, "is missing; Mooncake lines have it, fetch the file again")
    return row


def _numbers(source: Source, row: dict[str, Any], place: str) -> tuple[float, int, int]:
    for field in MOONCAKE:
        value = row[field]
        if isinstance(value, bool) or not isinstance(value, int | float):
            shown = repr(value[:40]) if isinstance(value, str) else f"a JSON {type(value).__name__}"
            raise source.bad_value(place, field, f"{shown} is not a number; mend or drop the line")
        if not abs(value) <= 1e300:
            raise source.bad_value(place, field, f"{str(value)[:40]} is not a finite number; mend or drop the line")
        if value < 0:
            raise source.bad_value(place, field, f"{value} is negative; mend or drop the line")
        if field != STAMP and (value != int(value) or value > MAX_TOKENS):
            raise source.bad_value(place, field, f"{value} is not a number of tokens; mend or drop the line")
    return float(row[STAMP]), int(row[PROMPT]), int(row[OUTPUT])


def _blocks(source: Source, row: dict[str, Any], prompt_tokens: int, place: str) -> list[int]:
    blocks = row.get(BLOCKS, [])
    if not isinstance(blocks, list) or not all(type(i) is int and 0 <= i < _MAX_ID for i in blocks):
        raise source.bad_value(place, BLOCKS, "is not a list of whole numbers of 0 or more; mend or drop the line")
    if len(blocks) > -(-prompt_tokens // BLOCK_TOKENS):
        problem = f"{len(blocks)} blocks of {BLOCK_TOKENS} tokens are more than {prompt_tokens} prompt tokens fill"
        raise source.bad_value(place, BLOCKS, f"{problem}; mend or drop the line")
    return blocks
