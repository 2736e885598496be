"""Exact miss counts of libCacheSim on cloudPhysicsIO, in the timeless loop: every rule, and one-block lookahead."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from eviction_loops import RULES, cache_for, hits, one_block_lookahead, read_records

Reference = dict[tuple[str, str, str, str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def accesses(shared_data: Path) -> tuple[list[int], list[int]]:
    keys, sizes = read_records(shared_data / "traces" / "cache" / "cloudPhysicsIO.oracleGeneral.bin")
    return keys.tolist(), sizes.tolist()


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> Reference:
    """Rows by rule, prefetcher, its parameters and unit."""
    rows: Reference = {}
    with (shared_data / "reference" / "cache_miss_counts.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            key = (line["algo"].lower(), line["prefetcher"], line["prefetch_params"], line["cache_size_unit"])
            rows.setdefault(key, []).append(line)
    return rows


@pytest.mark.parametrize("unit", ["objects", "bytes"])
@pytest.mark.parametrize("rule", RULES)
def test_miss_counts(rule, unit, accesses, reference):
    keys, sizes = accesses
    rows = reference[rule, "none", "", unit]
    assert len(rows) == (7 if unit == "objects" else 6)
    if unit == "objects":
        sizes = [1] * len(keys)
    counted = [hits(cache_for(rule, int(row["cache_size"]), keys), keys, sizes).count(False) for row in rows]
    assert counted == [int(row["n_miss"]) for row in rows]


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("rule", ["lru", "fifo", "sieve"])
def test_one_block_lookahead(rule, k, accesses, reference):
    keys, _ = accesses
    rows = reference[rule, "OBL", f"block-size=1,sequential-confidence-k={k}", "objects"]
    assert len(rows) == 5
    for row in rows:
        counted = one_block_lookahead(cache_for(rule, int(row["cache_size"]), keys), keys, [1] * len(keys), k)
        assert counted == (int(row["n_miss"]), int(row["n_prefetch_inserts"]), int(row["prefetch_used"]))


@pytest.mark.parametrize("rule", ["lru", "fifo"])
def test_one_block_lookahead_in_bytes(rule, accesses, reference):
    keys, sizes = accesses
    rows = reference[rule, "OBL", "default", "bytes"]
    assert len(rows) == 6
    for row in rows:
        counted = one_block_lookahead(cache_for(rule, int(row["cache_size"]), keys), keys, sizes, 4)
        assert counted == (int(row["n_miss"]), int(row["n_prefetch_inserts"]), int(row["prefetch_used"]))
