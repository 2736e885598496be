"""Requests to a range of bytes, split into accesses to blocks of equal size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.columns import Place, time_order
from ..common.source import Source
from .access_trace import AccessTrace
from .columns import ReadOptions, assemble

Ints = NDArray[np.int64]

BLOCK_BYTES = 4_096
DEVICE_BLOCKS = 1 << 40  # keys that are kept for the blocks of one device
MAX_DEVICES = 1 << 22
MAX_OFFSET_BYTES = 2**52
MAX_REQUEST_BYTES = 2**32
_MAX_BLOCKS = 1 << 20


def split_into_blocks(
    source: Source, place: Place, field: str, start_bytes: Ints, length_bytes: Ints, block_bytes: int
) -> tuple[Ints, Ints]:
    """Which request each block belongs to and its number on the device, both of shape (blocks,).

    The blocks that a request touches, also in part, follow each other in ascending order.

    Args:
        source: The file, for messages.
        place: From a row to where it stands, for messages.
        field: The column of lengths, for messages.
        start_bytes: First byte of each request, >= 0, shape (n,).
        length_bytes: Bytes of each request, >= 1, shape (n,).
        block_bytes: Size of a block.

    Raises:
        TraceError: A request of more than a million blocks, or more accesses than ``max_rows``.
    """
    first = start_bytes // block_bytes
    counts = (start_bytes + length_bytes - 1) // block_bytes - first + 1
    too_many = counts > _MAX_BLOCKS
    if too_many.any():
        row = int(np.argmax(too_many))
        problem = f"{length_bytes[row]:,} bytes are more than {_MAX_BLOCKS:,} blocks of {block_bytes:,} bytes"
        raise source.bad_value(place(row), field, f"{problem}; take larger blocks, or mend or drop the row")
    total = int(counts.sum())
    source.check_rows(total)
    request = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return request, first[request] + (np.arange(total) - before[request])


def device_trace(
    source: Source,
    place: Place,
    options: ReadOptions,
    *,
    stamps: tuple[str, Ints, int],
    lengths: tuple[str, Ints],
    start_bytes: Ints,
    device: Ints,
    writes: NDArray[np.bool_],
    notes: dict[str, Any],
) -> AccessTrace:
    """Requests to block devices as accesses to blocks; the key is device x 2^40 + block, time 0 the first request.

    All blocks of a request arrive at once.

    Args:
        source: The file.
        place: From a row to where it stands, for messages.
        options: How to read.
        stamps: Name of the column, its values, and how many of them are a second.
        lengths: Name of the column, and bytes of each request.
        start_bytes: First byte of each request, at most 2^52.
        device: Number of its device, below 2^22.
        writes: Whether it writes.
        notes: What to note besides.

    Raises:
        TraceError: Time that goes backwards (without ``sort``), or requests of too many blocks.
    """
    stamp_field, stamp, a_second = stamps
    length_field, length_bytes = lengths
    order = time_order(stamp, source, place, stamp_field, sort=options.sort)
    if order is None:
        order = np.arange(len(stamp))

    def place_of(row: int) -> str:
        return place(int(order[row]))

    block_bytes = options.block_bytes or BLOCK_BYTES
    request, block = split_into_blocks(
        source, place_of, length_field, start_bytes[order], length_bytes[order], block_bytes
    )
    request = order[request]
    return assemble(
        source,
        arrival_s=(stamp[request] - stamp[order[0]]) / a_second,
        order=None,
        notes={**notes, "requests": len(stamp), "block_bytes": block_bytes},
        key=device[request] * DEVICE_BLOCKS + block,
        size_bytes=np.full(len(block), block_bytes),
        is_write=writes[request],
        backing="all",
    )
