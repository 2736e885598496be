"""One-block lookahead over LRU, without time, has the exact counts of the reference on cloudPhysicsIO."""

from __future__ import annotations

import csv
from collections import OrderedDict

import pytest

from handrail.envs.prefetch.prefetchers.obl import OneBlockLookahead
from handrail.traces import load_access_trace


def replayed(keys: list[int], objects: int, run: int) -> tuple[int, int]:
    """Misses and prefetches: look up, insert, then prefetch."""
    access = OneBlockLookahead(1, run).access
    cache: OrderedDict[int, None] = OrderedDict()
    misses = prefetches = 0

    def insert(key: int) -> None:
        if len(cache) >= objects:
            cache.popitem(last=False)
        cache[key] = None

    for key in keys:
        hit = key in cache
        if hit:
            cache.move_to_end(key)
        else:
            misses += 1
            insert(key)
        for other in access(key, hit):
            if other not in cache:
                prefetches += 1
                insert(other)
    return misses, prefetches


@pytest.fixture(scope="module")
def keys(shared_data) -> list[int]:
    path = shared_data / "traces/cache/cloudPhysicsIO.oracleGeneral.bin"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not in {path.parent}")
    return load_access_trace(path).key.tolist()


@pytest.mark.parametrize("objects", [1000, 2000, 5000, 10_000, 20_000])
@pytest.mark.parametrize("run", [1, 4])
def test_counts_are_exact(keys, shared_data, objects, run):
    with (shared_data / "reference/cache_miss_counts.csv").open(newline="") as lines:
        wanted = {
            (int(row["n_miss"]), int(row["n_prefetch_inserts"]))
            for row in csv.DictReader(lines)
            if row["mode"] == "ignore_obj_size=True"
            and (row["cache_size"], row["algo"], row["prefetcher"]) == (str(objects), "LRU", "OBL")
            and row["prefetch_params"].endswith(f"k={run}")
        }
    assert len(wanted) == 1
    assert wanted == {replayed(keys, objects, run)}
    if run == 4:
        assert replayed(keys, objects, run)[1] == 1243
