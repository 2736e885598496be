"""Eviction rules: what leaves a full cache. One rule a file.

`make_eviction` builds one by name. All answer the same calls (`EvictionCache`), in any order: a timeless loop puts an
object in right after it is missed, a simulator when its fetch arrives, and prefetches come without an access.
"""

from __future__ import annotations

import numpy as np

from ....traces.errors import HandrailError
from .arc import Arc
from .base import EvictionCache
from .belady import Belady, FutureRows
from .clock import Clock
from .fifo import Fifo
from .lfu import Lfu
from .lru import Lru
from .s3fifo import S3Fifo
from .sieve import Sieve

__all__ = ["EvictionCache", "make_eviction"]

_CAUSAL: dict[str, type[EvictionCache]] = {rule.name: rule for rule in (Lru, Fifo, Clock, Lfu, Arc, S3Fifo, Sieve)}


def make_eviction(
    name: str, capacity: int, next_row: np.ndarray | None = None, key: np.ndarray | None = None
) -> EvictionCache:
    """An empty cache of ``capacity`` units under the rule of that name.

    Args:
        name: ``lru``, ``fifo``, ``clock``, ``lfu``, ``arc``, ``s3fifo``, ``sieve`` or ``belady``.
        capacity: Objects or bytes that it holds.
        next_row: (rows,) row of the next access to the same id, -1 for none; only ``belady`` reads it.
        key: (rows,) ids in order of access; only ``belady`` reads it.

    Raises:
        HandrailError: There is no such rule, the capacity is below 1, or ``belady`` was not told the future.
    """
    if capacity < 1:
        raise HandrailError(f"eviction: a capacity of {capacity} holds nothing; give at least 1")
    if name in _CAUSAL:
        return _CAUSAL[name](capacity)
    if name != Belady.name:
        raise HandrailError(f"eviction: there is no {name!r}; use one of {', '.join([*_CAUSAL, Belady.name])}")
    if next_row is None or key is None:
        raise HandrailError("eviction: belady knows the future, so it needs the trace's columns next_row and key")
    return Belady(capacity, FutureRows(key, next_row))
