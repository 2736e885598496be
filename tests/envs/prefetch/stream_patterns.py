"""Streams of ids that prefetchers are made for, or are lost on; and what a prefetcher covers of a stream."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handrail.envs.prefetch.prefetchers import Prefetcher
from handrail.traces import AccessTrace

HELD = 512
"""Accesses for which a buffer holds what was accessed or suggested."""


class Covered(NamedTuple):
    """Suggestions newly fetched an access, share of accesses foreseen, and the second over the first."""

    issued: float
    coverage: float
    accuracy: float


def covered(prefetcher: Prefetcher, keys: list[int]) -> Covered:
    """What the prefetcher would fetch and foresee with a buffer of the last `HELD` accesses, fetched at once."""
    since: dict[int, int] = {}
    suggested: dict[int, int] = {}
    issued = used = 0
    for position, key in enumerate(keys):
        hit = position - since.get(key, -HELD - 1) <= HELD
        if suggested.pop(key, -HELD - 1) >= position - HELD:
            used += 1
            prefetcher.note_used(key, late=False)
        elif not hit:
            prefetcher.note_filled(key, prefetched=False)
        since[key] = position
        for other in prefetcher.access(key, hit):
            if position - since.get(other, -HELD - 1) > HELD:
                issued += 1
                since[other] = suggested[other] = position
                prefetcher.note_filled(other, prefetched=True)
    return Covered(issued / len(keys), used / len(keys), used / max(issued, 1))


def scan(n: int = 4000, step: int = 1, start: int = 10_000) -> list[int]:
    """One stream of equal steps."""
    return list(range(start, start + n * step, step))


def interleaved(steps: tuple[int, ...] = (128, 136, 128, 16), n: int = 4000, seed: int = 3) -> list[int]:
    """Several streams far from each other, each going on at random times."""
    rng = np.random.default_rng(seed)
    at = [(place + 1) * 4_000_000 for place in range(len(steps))]
    keys = []
    for place in rng.integers(0, len(steps), n).tolist():
        keys.append(at[place])
        at[place] += steps[place]
    return keys


def cycle(ids: int = 1500, rounds: int = 4, seed: int = 4) -> list[int]:
    """Scattered ids in an order that comes again."""
    return np.random.default_rng(seed).permutation(10**7)[:ids].tolist() * rounds


def changing_steps(steps: tuple[int, ...] = (1, 2, 5), n: int = 4000) -> list[int]:
    """One stream whose steps repeat as a pattern."""
    return np.cumsum(np.resize(steps, n)).tolist()


def uniform(n: int = 4000, ids: int = 10**7, seed: int = 5) -> list[int]:
    """Ids at random."""
    return np.random.default_rng(seed).integers(0, ids, n).tolist()


def restless(n: int, seed: int) -> list[int]:
    """Runs, strides, jumps, repetitions and a small set that comes again, in turn at random."""
    rng = np.random.default_rng(seed)
    keys: list[int] = []
    while len(keys) < n:
        start, length = int(rng.integers(0, 3000)), int(rng.integers(1, 60))
        keys += (
            list(range(start, start + length)),
            list(range(start, start + 7 * length, 7)),
            rng.integers(0, 5000, length).tolist(),
            [start] * (length // 10 + 1),
            rng.integers(100, 140, length).tolist(),
        )[int(rng.integers(0, 5))]
    return keys[:n]


def trace_of(keys: list[int], tenants: int = 1, seed: int = 6) -> AccessTrace:
    """A trace of these ids, an access a millisecond; each by a tenant at random."""
    n = len(keys)
    codes = np.random.default_rng(seed).integers(0, tenants, n)
    names = tuple(f"tenant-{code}" for code in range(tenants))
    return AccessTrace(
        arrival_s=np.arange(n) * 1e-3,
        key=np.array(keys, dtype=np.int64),
        size_bytes=np.full(n, 4096, dtype=np.int64),
        name="pattern",
        **({"tenant": codes, "tenant_names": names} if tenants > 1 else {}),
    )
