"""Accesses a second of the cache simulator at a hit ratio of 70 %, beside bare SimPy loops on the same accesses.

    python benchmarks/prefetch_speed.py [--accesses 1000000] [--runs 5]

Zipf accesses to a cache under LRU, sized so that 70 % hit. Every figure is the median of the runs, which alternate;
time is CPU time of the replay alone, loading left out. The bare loops do the least that SimPy can be asked for:

- one event an access: a SimPy event at each arrival that looks the object up in an ordered dictionary, and one at the
  arrival of each missed object, which puts it in: no queue, no account;
- one event a miss: the same with hits taken in a plain loop, as this simulator does it.

The other lines add a prefetcher (OBL, stride with degree 4) and decisions every 64 accesses without an observer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from handrail.envs.common.clock import Clock
from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, default_cache
from handrail.traces import AccessTrace

HIT_RATIO = 0.70
OBJECTS = 100_000
SKEW = 0.9


def zipf_trace(n: int) -> AccessTrace:
    """Accesses to ``OBJECTS`` objects of 4 KiB with Zipf popularity, in a Poisson stream."""
    rng = np.random.default_rng(np.random.SeedSequence(7))
    weights = np.arange(1, OBJECTS + 1, dtype=np.float64) ** -SKEW
    places = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(n))
    key = rng.permutation(OBJECTS)[np.minimum(places, OBJECTS - 1)]
    return AccessTrace(arrival_s=np.cumsum(rng.exponential(1e-4, n)), key=key, size_bytes=np.full(n, 4096), name="zipf")


def sized_for(trace: AccessTrace, hit_ratio: float) -> int:
    """Objects of an LRU cache that hits this share of the accesses, by bisection."""
    low, high = 1, trace.distinct_objects
    while high - low > max(low // 100, 1):
        middle = (low + high) // 2
        cache: OrderedDict[int, None] = OrderedDict()
        hits = 0
        for key in trace.key.tolist():
            if key in cache:
                hits += 1
                cache.move_to_end(key)
            else:
                cache[key] = None
                if len(cache) > middle:
                    cache.popitem(last=False)
        low, high = (low, middle) if hits / len(trace) >= hit_ratio else (middle, high)
    return high


def bare_loop(trace: AccessTrace, capacity: int, *, event_per_access: bool) -> tuple[float, float]:
    """CPU seconds and hit ratio of a bare SimPy loop."""
    clock, cache = Clock(), OrderedDict()
    times, keys, latency_s = trace.arrival_s.tolist(), trace.key.tolist(), 1e-3
    hits = 0

    def arrived(key: int) -> Callable[[Any], None]:
        def put(_: Any) -> None:
            cache[key] = None
            if len(cache) > capacity:
                cache.popitem(last=False)

        return put

    def access(row: int) -> None:
        nonlocal hits
        key = keys[row]
        if key in cache:
            hits += 1
            cache.move_to_end(key)
        else:
            clock.at(times[row] + latency_s, arrived(key), 0)

    def arrival(row: int) -> Callable[[Any], None]:
        def happen(_: Any) -> None:
            if row + 1 < len(times):
                clock.at(times[row + 1], arrival(row + 1), 1)
            access(row)

        return happen

    began = time.process_time()
    queue = clock._queue
    if event_per_access:
        clock.at(times[0], arrival(0), 1)
    else:
        for row, now_s in enumerate(times):
            while queue and queue[0][0] <= now_s:
                clock.step()
            access(row)
    while queue:
        clock.step()
    return time.process_time() - began, hits / len(times)


def simulate(config: CacheConfig, trace: AccessTrace) -> tuple[float, float]:
    """CPU seconds of a replay, and the hit ratio."""
    simulator = PrefetchSimulator(config, trace)
    began = time.process_time()
    simulator.advance()
    taken_s = time.process_time() - began
    outcome = simulator.results().outcome
    return taken_s, float(np.mean((outcome == 0) | (outcome == 4)))


def decide(config: CacheConfig, trace: AccessTrace) -> tuple[float, float]:
    """The same with a decision every 64 accesses, answered with the standing scheme's choice."""
    simulator = PrefetchSimulator(config, trace, decide="policy")
    began = time.process_time()
    point = simulator.advance()
    while point is not None:
        simulator.apply(simulator.standing_arm(point.tenant))
        point = simulator.advance()
    taken_s = time.process_time() - began
    outcome = simulator.results().outcome
    return taken_s, float(np.mean((outcome == 0) | (outcome == 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accesses", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    trace = zipf_trace(options.accesses)
    objects = sized_for(trace, HIT_RATIO)
    plain = default_cache(trace, objects=objects, prefetcher="none", controller="fixed")
    measured = plain.tier.model_dump()
    obl = CacheConfig.parse(objects=objects, tier=measured, hit_s=plain.hit_s, prefetcher="obl", controller="fixed")
    stride = obl.model_copy(update={"prefetcher": "stride", "degree": 4})
    asked = obl.model_copy(update={"controller": "hysteresis", "menu": ("none", "obl:1")})
    cases: dict[str, Callable[[], tuple[float, float]]] = {
        "bare SimPy, one event an access": lambda: bare_loop(trace, objects, event_per_access=True),
        "bare SimPy, one event a miss": lambda: bare_loop(trace, objects, event_per_access=False),
        "this simulator, LRU, no prefetcher": lambda: simulate(plain, trace),
        "this simulator, LRU, OBL": lambda: simulate(obl, trace),
        "this simulator, LRU, stride:4": lambda: simulate(stride, trace),
        "this simulator, a decision every 64 accesses": lambda: decide(asked, trace),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(options.runs):
        for name, run in cases.items():
            taken[name].append(run())
    print(f"{len(trace):,} accesses, {trace.distinct_objects:,} objects, cache of {objects:,} objects")
    first = statistics.median(seconds for seconds, _ in taken["this simulator, LRU, no prefetcher"])
    for name, runs in taken.items():
        seconds = statistics.median(s for s, _ in runs)
        rate, ratio = len(trace) / seconds, seconds / first
        print(f"{name:46s} {rate:12,.0f} accesses/s   x {ratio:4.2f} of the time   hit ratio {runs[0][1]:.3f}")


if __name__ == "__main__":
    main()
