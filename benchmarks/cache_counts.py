"""Miss counts of every eviction rule on cloudPhysicsIO beside those of libCacheSim 0.3.5, and accesses a second.

    python benchmarks/cache_counts.py --data ../shared > docs/results/cache-counts.md

A timeless loop without warm-up: look up, put in at once what was missed. Objects count one each at seven sizes, and
their bytes at six. Ends with 1 where a count differs.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from handrail.envs.prefetch.eviction import make_eviction
from handrail.traces import AccessTrace, load_access_trace

RULES = ("lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady")
HEADER = (
    "| rule | capacity | unit | misses | libCacheSim | difference | accesses/s |\n|---|---:|---|---:|---:|---:|---:|"
)


class Row(NamedTuple):
    """One line of the reference."""

    rule: str
    capacity: int
    by_bytes: bool
    misses: int


def reference(path: Path) -> list[Row]:
    """The rows of these rules without a prefetcher."""
    with path.open(newline="") as file:
        rows = [
            Row(line["algo"].lower(), int(line["cache_size"]), line["cache_size_unit"] == "bytes", int(line["n_miss"]))
            for line in csv.DictReader(file)
            if line["prefetcher"] == "none" and line["algo"].lower() in RULES
        ]
    return sorted(rows, key=lambda row: (row.by_bytes, RULES.index(row.rule), row.capacity))


def count_misses(trace: AccessTrace, row: Row) -> tuple[int, float]:
    """Misses, and seconds of wall time."""
    keys = trace.key.tolist()
    sizes = trace.size_bytes.tolist() if row.by_bytes else [1] * len(keys)
    cache = make_eviction(row.rule, row.capacity, trace.next_row, trace.key)
    misses = 0
    start_s = perf_counter()
    for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        if cache.needs_rows:
            cache.at(place)
        if not cache.touch(key):
            misses += 1
            cache.insert(key, size)
    return misses, perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    options = parser.parse_args()
    trace = load_access_trace(options.data / "traces/cache/cloudPhysicsIO.oracleGeneral.bin", spread=False)
    wrong = 0
    print(HEADER)
    for row in reference(options.data / "reference/cache_miss_counts.csv"):
        misses, wall_s = count_misses(trace, row)
        difference = misses - row.misses
        wrong += difference != 0
        unit = "bytes" if row.by_bytes else "objects"
        print(
            f"| {row.rule} | {row.capacity:,} | {unit} | {misses:,} | {row.misses:,} | {difference:+d} "
            f"| {len(trace) / wall_s:,.0f} |"
        )
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
