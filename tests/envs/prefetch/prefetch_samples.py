"""Small synthetic access traces with regular and irregular tenants."""

from __future__ import annotations

import numpy as np

from handrail.traces import AccessTrace

TENANTS = ("scan", "strided", "zipf")


def mixed_keys(n: int, seed: int) -> np.ndarray:
    """Ids of one tenant: runs, strides, jumps, repetitions and a small set that comes again."""
    rng = np.random.default_rng(seed)
    keys: list[int] = []
    while len(keys) < n:
        start, length = int(rng.integers(0, 3000)), int(rng.integers(1, 60))
        kind = int(rng.integers(0, 5))
        if kind == 0:
            keys += range(start, start + length)
        elif kind == 1:
            keys += range(start, start + 7 * length, 7)
        elif kind == 2:
            keys += rng.integers(0, 5000, length).tolist()
        elif kind == 3:
            keys += [start] * (length // 10 + 1)
        else:
            keys += rng.integers(100, 140, length).tolist()
    return np.array(keys[:n], dtype=np.int64)


def accesses(keys, seed: int = 0, gap_s: float = 1e-3, **columns) -> AccessTrace:
    """A trace of these ids at random times, 4 KiB each unless told otherwise."""
    keys = np.asarray(keys, dtype=np.int64)
    rng = np.random.default_rng(seed)
    values = {
        "arrival_s": np.cumsum(rng.exponential(gap_s, len(keys))),
        "key": keys,
        "size_bytes": np.full(len(keys), 4096, dtype=np.int64),
        "name": "sample",
    }
    return AccessTrace(**{**values, **columns})


def one_tenant(n: int = 4000, seed: int = 0, **columns) -> AccessTrace:
    """One tenant whose behaviour changes all the time."""
    return accesses(mixed_keys(n, seed), seed, **columns)


def three_tenants(n: int = 6000, seed: int = 0, **columns) -> AccessTrace:
    """A tenant that scans, one with a stride, one that draws from a Zipf law; ids of their own."""
    rng = np.random.default_rng(seed)
    tenant = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    keys = np.empty(n, dtype=np.int64)
    for code in range(3):
        rows = np.flatnonzero(tenant == code)
        steps = np.arange(len(rows))
        ids = (steps % 900, (steps * 3) % 1500, np.minimum(rng.zipf(1.3, len(rows)), 2000))[code]
        keys[rows] = ids + code * 2**20
    return accesses(keys, seed, tenant=tenant, tenant_names=TENANTS, **columns)
