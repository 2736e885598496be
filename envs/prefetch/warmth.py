"""How far back to begin so that an episode's cache is not empty at its start."""

from __future__ import annotations

import numpy as np

from ...traces import AccessTrace
from .config import CacheConfig


def rows_that_fill(trace: AccessTrace, start: int, config: CacheConfig) -> int:
    """How many rows before row ``start`` are enough to fill an empty cache; all of them where they are too few.

    Under LRU the cache then holds exactly what it would after all rows before ``start``, without prefetching.
    """
    before = trace.next_row[:start]
    last_uses = np.flatnonzero((before < 0) | (before >= start))[::-1]
    units = trace.size_bytes[last_uses] if config.by_bytes else np.ones(len(last_uses), dtype=np.int64)
    # In bytes, what just does not fit any more is taken too: it has an effect on what does.
    objects = int(np.searchsorted(np.cumsum(units), config.capacity)) + 1
    return start - int(last_uses[objects - 1]) if objects <= len(last_uses) else start
