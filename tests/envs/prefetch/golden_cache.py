"""Golden runs: small workloads under several configs, of whose columns and accounts the hashes are stored.

A change of `golden_cache.json` is a change of the simulator's semantics and belongs in the changelog. It is written
anew by

    python tests/envs/prefetch/golden_cache.py
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np

from handrail.envs.prefetch import CacheConfig, MiddleConfig, PrefetchResults, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace

STORED = Path(__file__).with_name("golden_cache.json")

COLUMNS = ("arrival_s", "finish_s", "access_s", "outcome", "row")
ACCOUNTS = ("prefetches", "prefetches_by_tenant", "polluted", "fetches", "fetch_bytes", "near_bytes")

TIER = {"latency_s": 2**-8, "service_s": 2**-12, "bandwidth_bytes_per_s": 2.0**24}
MENU = ("none", "obl:2", "next-line:2", "stride:4", "markov:2")
CONFIGS = {
    "open, lru, obl under hysteresis": {"hysteresis": {"on_below": 0.3, "off_above": 0.5}},
    "open, lru, next-line, demand first": {"prefetcher": "next-line", "degree": 2, "discipline": "demand-first"},
    "open, bytes, fifo, stride, bounded": {
        "objects": None, "size_bytes": 300_000, "eviction": "fifo", "prefetcher": "stride", "discipline": "bounded",
        "degree": 4, "prefetch_queue": 2,
    },
    "paced, s3fifo, markov under feedback": {
        "demand": "paced", "window": 4, "eviction": "s3fifo", "prefetcher": "markov", "controller": "feedback",
    },
    "closed, sieve, bandit a tenant": {
        "demand": "closed", "eviction": "sieve", "controller": "bandit", "per_tenant": True,
    },
    "open, middle tier, seen only, seconds": {
        "middle": MiddleConfig(objects=400, tier=TierConfig(latency_s=2**-10, service_s=2**-14)), "backing": "seen",
        "prefetcher": "markov", "every_accesses": None, "every_s": 2**-5,
    },
    "timeless, arc, next-line": {"demand": "timeless", "eviction": "arc", "prefetcher": "next-line"},
}  # fmt: skip


def golden_trace(n: int = 2_000) -> AccessTrace:
    """Three tenants from a seed, all times whole multiples of 2^-14 s: one scans, one strides, one comes back to a few
    objects and writes some."""
    rng = np.random.default_rng(2024)
    tenant = rng.choice(3, n, p=[0.4, 0.3, 0.3])
    keys = np.empty(n, dtype=np.int64)
    for code in range(3):
        rows = np.flatnonzero(tenant == code)
        steps = np.arange(len(rows))
        few = (rng.random(len(rows)) ** 3 * 400).astype(np.int64)
        keys[rows] = (steps % 300, steps * 3 % 1_000, few)[code] + code * 2**20
    return AccessTrace(
        arrival_s=np.cumsum(rng.integers(0, 40, n)) * 2.0**-14,
        key=keys,
        size_bytes=1024 * (1 + keys % 4),
        is_write=(tenant == 2) & (rng.random(n) < 0.3),
        tenant=tenant,
        tenant_names=("scan", "stride", "few"),
    )


@cache
def golden_run(name: str) -> PrefetchResults:
    """One of the configs, replayed to its end."""
    values = {"objects": 100, "menu": MENU, "every_accesses": 50, **CONFIGS[name]}
    tier = TIER | {key: values.pop(key) for key in ("discipline", "prefetch_queue") if key in values}
    simulator = PrefetchSimulator(CacheConfig.parse(tier=tier, **values), golden_trace())
    assert simulator.advance() is None
    return simulator.results()


def digest(results: PrefetchResults) -> str:
    """Hash of the columns, bit by bit, and of the accounts."""
    found = hashlib.sha256()
    for column in COLUMNS:
        found.update(np.ascontiguousarray(getattr(results, column)).tobytes())
    found.update(json.dumps([getattr(results, account) for account in ACCOUNTS]).encode())
    found.update(np.array([*results.work_s, results.end_s]).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    hashes = {name: digest(golden_run(name)) for name in CONFIGS}
    STORED.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
