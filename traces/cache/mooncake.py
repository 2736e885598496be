"""Mooncake's requests as accesses to the blocks of a key-value cache (Qin et al., "Mooncake", FAST 2025).

Every hash id of a request is an access to the block of 512 tokens that it stands for, when the request arrives.
"""

from __future__ import annotations

import numpy as np

from ..common.source import Source
from ..llm import columns as llm
from ..llm import mooncake
from .access_trace import AccessTrace
from .columns import PERMUTED, ReadOptions, assemble

# Keys and values of a token in Llama-3.1-8B: 2 x 32 layers x 8 heads x 128 numbers of 2 bytes.
KV_BYTES_PER_TOKEN = 131_072


def read_mooncake(source: Source, options: ReadOptions) -> AccessTrace:
    """Read it; time and spreading as for requests, ids permuted (with a fixed seed) unless ``permute`` is false.

    Ids are numbered in order of first appearance: unpermuted, the next id would tell the future.

    Raises:
        TraceError: With line and field of whatever is missing or out of range; no hash ids at all.
    """
    reading = llm.ReadOptions("keep", options.seed if options.spread else None, options.sort)
    requests = mooncake.read_mooncake(source, reading, permute=options.permute is not False)
    if requests.prefix_blocks is None or len(requests.prefix_blocks[1]) == 0:
        raise source.error(f"field {mooncake.BLOCKS!r}: no request has hash ids; give a Mooncake trace that has them")
    offsets, ids = requests.prefix_blocks
    source.check_rows(len(ids))
    request = np.repeat(np.arange(len(requests)), np.diff(offsets))
    notes = {name: value for name, value in requests.notes.items() if name in ("format", "origin_s", "spread_s")}
    permuted = {} if options.permute is False else {PERMUTED: mooncake.PERMUTATION_SEED}
    return assemble(
        source,
        arrival_s=requests.arrival_s[request],
        order=None,
        notes={**notes, "requests": len(requests), **permuted},
        key=ids,
        size_bytes=np.full(len(ids), mooncake.BLOCK_TOKENS * KV_BYTES_PER_TOKEN),
        backing="seen",
    )
