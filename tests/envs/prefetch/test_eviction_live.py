"""Hit by hit against PyPI's libcachesim on random traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from eviction_loops import RULES, cache_for, hits, next_rows

CLASSES = {"lru": "LRU", "fifo": "FIFO", "clock": "Clock", "lfu": "LFU", "arc": "ARC", "s3fifo": "S3FIFO"}
CLASSES |= {"sieve": "Sieve", "belady": "Belady"}
NEVER = 2**62
LARGEST_BYTES = 20


@pytest.fixture(scope="module")
def libcachesim() -> Any:
    return pytest.importorskip("libcachesim", reason="the live oracle is not installed: pip install 'handrail[dev]'")


def oracle_hits(libcachesim: Any, rule: str, capacity: int, keys: list[int], sizes: list[int]) -> list[bool]:
    cache = getattr(libcachesim, CLASSES[rule])(capacity, hashpower=12)
    following = next_rows(keys).tolist()
    return [
        cache.get(
            libcachesim.Request(
                obj_id=key, obj_size=size, clock_time=row, next_access_vtime=NEVER if after < 0 else after
            )
        )
        for row, (key, size, after) in enumerate(zip(keys, sizes, following, strict=True))
    ]


def draw(rng: np.random.Generator, ids: int) -> list[int]:
    """400 accesses, half of them to few ids and half to any."""
    popular = np.minimum(rng.zipf(1.5, size=400), ids)
    anywhere = rng.integers(1, ids + 1, size=400)
    return np.where(rng.random(400) < 0.5, popular, anywhere).tolist()


@pytest.mark.parametrize("unit", ["objects", "bytes"])
@pytest.mark.parametrize("rule", RULES)
def test_same_hits(rule, unit, libcachesim):
    """S3-FIFO only where each object fits its small queue: else libcachesim admits none, and the paper is silent."""
    least = 20 if unit == "objects" else 11 * LARGEST_BYTES
    rng = np.random.default_rng([RULES.index(rule), unit == "bytes"])
    evicting = 0
    for _ in range(40):
        ids = int(rng.choice([30, 100, 300]))
        keys = draw(rng, ids)
        size_of = rng.integers(1, LARGEST_BYTES + 1, size=ids + 1) if unit == "bytes" else np.ones(ids + 1, int)
        sizes = size_of[keys].tolist()
        capacity = int(rng.integers(2, 60)) * (1 if unit == "objects" else 10)
        if rule == "s3fifo":
            capacity = max(capacity, least)
        found = hits(cache_for(rule, capacity, keys), keys, sizes)
        assert found == oracle_hits(libcachesim, rule, capacity, keys, sizes)
        evicting += found.count(False) > len(set(keys))
    assert evicting >= 20
