"""The timeless loop of hit-ratio simulators, and one-block lookahead in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handrail.envs.prefetch.eviction import EvictionCache, make_eviction

RULES = ("lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady")
RECORD = np.dtype([("time_s", "<u4"), ("key", "<u8"), ("size_bytes", "<u4"), ("next_row", "<i8")])
"""One access in libCacheSim's oracleGeneral format."""


def read_records(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids and sizes of an oracleGeneral file."""
    records = np.fromfile(path, dtype=RECORD)
    return records["key"].astype(np.int64), records["size_bytes"].astype(np.int64)


def next_rows(keys: Sequence[int]) -> np.ndarray:
    """Row of the next access to the same id, -1 for none."""
    rows = np.full(len(keys), -1, dtype=np.int64)
    last: dict[int, int] = {}
    for row, key in enumerate(keys):
        if key in last:
            rows[last[key]] = row
        last[key] = row
    return rows


def cache_for(name: str, capacity: int, keys: Sequence[int]) -> EvictionCache:
    return make_eviction(name, capacity, next_rows(keys), np.asarray(keys, dtype=np.int64))


def hits(cache: EvictionCache, keys: Sequence[int], sizes: Sequence[int]) -> list[bool]:
    """Which accesses hit, when what is missed is put in at once."""
    found = []
    for row, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        cache.at(row)
        there = cache.touch(key)
        found.append(there)
        if not there:
            cache.insert(key, size)
    return found


def one_block_lookahead(cache: EvictionCache, keys: Sequence[int], sizes: Sequence[int], k: int) -> tuple[int, ...]:
    """Misses, prefetches and used prefetches, where id + 1 is fetched after k + 1 accesses to consecutive ids.

    A prefetched object is taken to be as large as the one that was accessed.
    """
    misses = prefetches = used = run = 0
    unused: set[int] = set()
    previous = None
    for key, size in zip(keys, sizes, strict=True):
        if cache.touch(key):
            used += key in unused
            unused.discard(key)
        else:
            misses += 1
            unused.difference_update(cache.insert(key, size))
        run = run + 1 if previous is not None and key == previous + 1 else 0
        previous = key
        if run >= k and key + 1 not in cache:
            prefetches += 1
            unused.difference_update(cache.insert(key + 1, size))
            unused.add(key + 1)
    return misses, prefetches, used
