"""The mix of cache traces: parts of four real traces, each twice, as eight tenants of one cache.

Each trace is cut by its own time, a mix takes the same part of each, stretched to one span and turned by a seeded
offset a tenant. Every access is a read of 64 KiB, so that patterns differ and not sizes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ...traces import AccessTrace, load_access_trace
from ...traces.cache.interleave import interleave
from ..splits import Margins, cut_split

MIX = "mix"
MIX_PARTS = {
    "volume": "traces/cache/cloudPhysicsIO.oracleGeneral.bin",
    "kv": "traces/llm/mooncake_conversation_first35min.jsonl",
    "oltp": "traces/cache/mqsim_tpcc_small.trace",
    "chunks": "traces/cache/cachelib_block_1.csv",
}
MIX_TENANTS = {f"{name}-{which}": path for name, path in MIX_PARTS.items() for which in "ab"}
OBJECT_BYTES = 65_536
BARE = Margins("access", gap_s=0.0, warmup_s=0.0, cooldown_s=0.0)


@cache
def _part(path: Path, split: str) -> AccessTrace:
    return cut_split(load_access_trace(path), split, BARE)


def cache_mix(data: Path, split: str, seed: int) -> AccessTrace:
    """The mix of one split; the seed turns the tenants against each other."""
    parts = [_part(data / path, split) for path in MIX_TENANTS.values()]
    mixed = interleave(parts, list(MIX_TENANTS), seed, durations="stretch")
    return mixed.replace(size_bytes=np.full(len(mixed), OBJECT_BYTES), is_write=None, name=f"mix-{split}-{seed}")
