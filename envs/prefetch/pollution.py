"""Pollution: misses that would have been hits, had nothing been prefetched; told by a shadow cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .eviction import make_eviction
from .results import MISS, PrefetchResults


def shadow_hits(results: PrefetchResults) -> NDArray[np.bool_]:
    """Which accesses hit a cache of the same size and rule without prefetching, shape (n,).

    The shadow takes the same accesses in the same order, and what it misses is there at once. Accesses that came while
    a fetch was under way are hits here, so it is no replay of the tier; it says what the contents would have been.
    """
    config = results.config
    keys, sizes = results.key.tolist(), results.size_bytes.tolist()
    cache = make_eviction(config.eviction, config.capacity, *_future(results))
    for key, units in zip(results.warm_keys, results.warm_units, strict=True):
        if key not in cache if cache.needs_rows else not cache.touch(key):
            cache.insert(key, units)
    hits = np.zeros(len(keys), dtype=bool)
    by_bytes = config.by_bytes
    for place, key in enumerate(keys):
        if cache.needs_rows:
            cache.at(place)
        if cache.touch(key):
            hits[place] = True
        else:
            cache.insert(key, sizes[place] if by_bytes else 1)
    return hits


def polluted_misses(results: PrefetchResults, would_hit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which accesses missed though the shadow cache hit (``would_hit``), shape (n,); none without prefetches."""
    if results.prefetches.issued == 0:
        return np.zeros(len(results.outcome), dtype=bool)
    return (results.outcome == MISS) & would_hit


def fetched_alone_bytes(results: PrefetchResults, would_hit: NDArray[np.bool_]) -> int:
    """What demand alone would have fetched: the objects of the reads that the shadow cache misses, in bytes."""
    return int(results.size_bytes[~would_hit & ~results.is_write].sum())


def _future(results: PrefetchResults) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """The columns that a rule which knows the future asks for: next place of the same key, and the keys."""
    if results.config.eviction != "belady":
        return None, None
    key = results.key
    order = np.lexsort((np.arange(len(key)), key))
    following = np.full(len(key), -1, dtype=np.int64)
    same = key[order[1:]] == key[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    return following, key
