"""The headline mix of the prefetch studies: parts of four real traces, each twice, as eight tenants of one cache.

| tenants | trace | what prefetching can do there |
|---|---|---|
| volume-a, volume-b | cloudPhysicsIO | bursts of sequential requests amid random ones |
| kv-a, kv-b | Mooncake conversation, KV blocks with permuted ids | no addresses; chains that come again |
| oltp-a, oltp-b | MQSim's TPC-C | random requests of two blocks each |
| chunks-a, chunks-b | CacheLib block trace | large sequential requests |

Each trace is cut by its own time into train (50 %), validation (20 %), test (30 %); a mix takes the same part of each,
stretched to one span and turned by a seeded offset a tenant. Every access is taken as a read of 64 KiB, so that it is
patterns that differ and not one tenant's transfers that dwarf the others' (a KV block has 64 MiB). Tenants are
applications with up to ``WINDOW`` requests under way (pace ``paced``), and the tier is sized by the mix as recorded:
demand misses alone use 60 % of it.

    python benchmarks/prefetch_mix.py --data ../shared --out mix.csv.gz

writes one mix of each part, one after another, as a trace for ``handrail train`` and ``handrail compare``.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from handrail.envs.prefetch import CacheConfig, default_cache
from handrail.experiments.domains import domain_named
from handrail.experiments.splits import TRAIN_END, VALIDATION_END, Margins, cut_split, gap_for
from handrail.traces import AccessTrace, load_access_trace
from handrail.traces.cache.interleave import interleave
from handrail.traces.cache.write import write_access_trace

TRACES = {
    "volume": "cache/cloudPhysicsIO.oracleGeneral.bin",
    "kv": "llm/mooncake_conversation_first35min.jsonl",
    "oltp": "cache/mqsim_tpcc_small.trace",
    "chunks": "cache/cachelib_block_1.csv",
}
TENANTS = {f"{name}-{which}": path for name, path in TRACES.items() for which in "ab"}
OBJECT_BYTES = 65_536
WINDOW = 2
"""Requests that a tenant has under way at most."""


@cache
def part_of(path: Path, split: str) -> AccessTrace:
    """One part of a trace by its own time; gaps in proportion to it."""
    return cut_split(load_access_trace(path), split, Margins("access", gap_s=0.0, warmup_s=0.0, cooldown_s=0.0))


def headline_mix(data: Path, split: str, seed: int) -> AccessTrace:
    """The mix of one split; the seed turns the tenants against each other."""
    parts = [part_of(data / "traces" / path, split) for path in TENANTS.values()]
    mixed = interleave(parts, list(TENANTS), seed, durations="stretch")
    return mixed.replace(size_bytes=np.full(len(mixed), OBJECT_BYTES), is_write=None, name=f"mix-{split}-{seed}")


def mix_cache(trace: AccessTrace, **values: Any) -> CacheConfig:
    """The cache and tier of a mix: one decision a tenant, every id takes a fetch to be found out about."""
    fixed = {"demand": "paced", "window": WINDOW, "per_tenant": True, "backing": "all"}
    return default_cache(trace, **(fixed | values))


def mix_in_time(data: Path, seed: int, span_s: float = 7200.0) -> AccessTrace:
    """The three mixes one after another, so that a trace cut at 50 % and 70 % of its time gives back each of them.

    The gaps that a cut leaves out before its later parts hold nothing.
    """
    margins = domain_named("prefetch").margins
    gap_s = 1.01 * gap_for(span_s, margins)  # a hair more, so that the first access stands behind the gap
    spans = {
        "train": (0.0, TRAIN_END * span_s),
        "validation": (TRAIN_END * span_s + gap_s, VALIDATION_END * span_s),
        "test": (VALIDATION_END * span_s + gap_s, span_s),
    }
    columns: dict[str, list[np.ndarray]] = {"arrival_s": [], "key": [], "tenant": []}
    above = 0
    for split, (start_s, end_s) in spans.items():
        mixed = headline_mix(data, split, seed)
        since_s = mixed.arrival_s - mixed.arrival_s[0]
        columns["arrival_s"].append(start_s + since_s * ((end_s - start_s) * (1 - 1e-9) / since_s[-1]))
        columns["key"].append(mixed.key - mixed.key.min() + above)
        above += int(np.ptp(mixed.key)) + 1_000_000
        columns["tenant"].append(mixed.tenant)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    n = len(joined["key"])
    return AccessTrace(
        **joined, size_bytes=np.full(n, OBJECT_BYTES), tenant_names=tuple(TENANTS), backing="all", name="mix"
    )


def main() -> None:
    """Write the mix as one trace, to train on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write, .gz if it ends so")
    options = parser.parse_args()
    mixed = mix_in_time(options.data, options.seed)
    write_access_trace(mixed, options.out)
    print(f"{options.out}: {len(mixed):,} accesses of {mixed.n_tenants} tenants, {mixed.duration_s:,.0f} s")


if __name__ == "__main__":
    main()
