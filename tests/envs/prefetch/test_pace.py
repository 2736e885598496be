"""When accesses come: at their times, within a window, one after another, or without time."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from cache_workloads import suggestions
from prefetch_samples import one_tenant, three_tenants

from handrail.envs.prefetch import CacheConfig, PrefetchResults, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.eviction import make_eviction
from handrail.traces import AccessTrace

EVICTIONS = ("lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady")
SLOW = TierConfig(latency_s=5e-3, service_s=4e-4)


def replay(trace: AccessTrace, **options: object) -> PrefetchResults:
    config = CacheConfig(**{"objects": 200, "tier": SLOW, "controller": "fixed", "prefetcher": "none", **options})
    simulator = PrefetchSimulator(config, trace)
    assert simulator.advance() is None
    return simulator.results()


def most_under_way(arrival_s: np.ndarray, finish_s: np.ndarray) -> int:
    """Most accesses under way at a time; one that ends when another comes has made room for it."""
    moments = sorted([(at_s, -1) for at_s in finish_s] + [(at_s, 1) for at_s in arrival_s])
    return int(np.cumsum([step for _, step in moments]).max())


@pytest.mark.parametrize("demand", ["paced", "closed"])
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("prefetcher", ["none", "next-line"])
def test_no_tenant_ever_exceeds_its_window(demand, window, prefetcher):
    trace = three_tenants(1_500)
    results = replay(trace, demand=demand, window=window, prefetcher=prefetcher, hit_s=1e-5)
    for code in range(3):
        own = results.tenant == code
        assert (np.diff(results.row[own]) > 0).all(), "a tenant's accesses keep their order"
        assert (np.diff(results.arrival_s[own]) >= 0).all()
        most = most_under_way(results.arrival_s[own], results.finish_s[own])
        assert most == window if demand == "closed" or window == 1 else most <= window
    assert sorted(results.row.tolist()) == list(range(len(trace)))
    assert (np.diff(results.arrival_s) >= 0).all()


@pytest.mark.parametrize("think_s", [0.0, 2e-3])
@pytest.mark.parametrize("window", [1, 4])
def test_a_closed_tenant_keeps_its_window_full(window, think_s):
    """Each access comes a think time after the end of one before it, and no two after the same one."""
    trace = three_tenants(900)
    results = replay(trace, demand="closed", window=window, think_s=think_s, hit_s=1e-5)
    for code in range(3):
        own = results.tenant == code
        arrival_s, finish_s = results.arrival_s[own], results.finish_s[own]
        assert (arrival_s[:window] == 0.0).all()
        free_s = sorted(arrival_s[:window] * 0.0)
        for at_s, end_s in zip(arrival_s.tolist(), finish_s.tolist(), strict=True):
            assert at_s == pytest.approx(free_s.pop(0), abs=1e-12)
            free_s = sorted([*free_s, end_s + think_s])


def test_a_paced_access_never_comes_before_its_time():
    trace = three_tenants(3_000)
    results = replay(trace, demand="paced", window=2)
    due_s = trace.arrival_s[results.row]
    assert (results.arrival_s >= due_s).all()
    late = results.arrival_s > due_s
    assert 0.1 < late.mean() < 1.0
    # What is late comes the moment an access of its tenant ends.
    ends = defaultdict(set)
    for tenant, end_s in zip(results.tenant.tolist(), results.finish_s.tolist(), strict=True):
        ends[tenant].add(end_s)
    for tenant, at_s in zip(results.tenant[late].tolist(), results.arrival_s[late].tolist(), strict=True):
        behind = results.arrival_s[late & (results.tenant == tenant)]
        assert at_s in ends[tenant] or at_s in behind


def test_a_window_that_never_fills_is_the_open_pace():
    trace = one_tenant(2_000)
    plain = replay(trace, prefetcher="next-line", degree=2)
    paced = replay(trace, prefetcher="next-line", degree=2, demand="paced", window=2_000)
    for column in ("arrival_s", "finish_s", "access_s", "outcome", "row"):
        np.testing.assert_array_equal(getattr(plain, column), getattr(paced, column), err_msg=column)
    assert plain.prefetches == paced.prefetches


def test_the_open_pace_keeps_the_times_of_the_trace():
    trace = one_tenant(1_000)
    np.testing.assert_array_equal(replay(trace).arrival_s, trace.arrival_s)
    config = CacheConfig(objects=100, tier=SLOW, prefetcher="none")
    simulator = PrefetchSimulator(config, trace, rows=(200, 700))
    simulator.advance()
    results = simulator.results()
    np.testing.assert_array_equal(results.arrival_s, trace.arrival_s[200:700] - trace.arrival_s[200])
    np.testing.assert_array_equal(results.row, np.arange(200, 700))


def plain_loop(
    trace: AccessTrace,
    eviction: str,
    capacity: int,
    by_bytes: bool,
    suggested: list[tuple[int, ...]],
    *,
    seen: bool,
    touches: bool,
) -> tuple[int, int, int]:
    """What a hit-ratio simulator does: misses, prefetches, first uses of prefetches."""
    future = (trace.next_row, trace.key) if eviction == "belady" else (None, None)
    cache = make_eviction(eviction, capacity, *future)
    sizes: dict[int, int] = {}
    untouched: set[int] = set()
    misses = prefetches = used = 0
    for row, (key, size) in enumerate(zip(trace.key.tolist(), trace.size_bytes.tolist(), strict=True)):
        cache.at(row)
        if cache.touch(key):
            used += key in untouched
            if key in untouched:
                sizes[key] = size
            untouched.discard(key)
        else:
            misses += 1
            sizes[key] = size
            untouched -= {*cache.insert(key, size if by_bytes else 1)}
        for other in suggested[row]:
            if other not in cache and (not seen or other in sizes):
                prefetches += 1
                units = sizes.get(other, size) if by_bytes else 1
                untouched.add(other)
                untouched -= {*cache.insert(other, units)}
            elif touches and other in cache and eviction != "belady":
                cache.touch(other)
    return misses, prefetches, used


@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("unit", ["objects", "bytes"])
def test_without_time_the_simulator_is_a_plain_loop(eviction, unit):
    """Every access after the last is done: the misses and prefetches of hit-ratio simulators, whatever is suggested."""
    rng = np.random.default_rng([11, EVICTIONS.index(eviction)])
    n, by_bytes = 1_500, unit == "bytes"
    keys = np.where(rng.random(n) < 0.7, rng.zipf(1.3, n) % 50, rng.integers(0, 300, n))
    trace = AccessTrace(np.sort(rng.uniform(0, 5, n)), keys, 100 + keys % 5 * 100)
    table = [tuple(dict.fromkeys(rng.integers(0, 300, rng.integers(0, 4)).tolist())) for _ in range(n)]
    table = [tuple(other for other in row if other != key) for row, key in zip(table, keys.tolist(), strict=True)]
    for capacity, seen, touches in product((3, 12, 40), (False, True), (False, True)):
        units = 300 * capacity if by_bytes else capacity
        options = {
            "objects": None,
            "size_bytes" if by_bytes else "objects": units,
            "backing": "seen" if seen else "all",
            "prefetch_touches": touches,
        }
        with suggestions({"next-line": table}):
            results = replay(trace, prefetcher="next-line", degree=3, demand="timeless", eviction=eviction, **options)
        expected = plain_loop(trace, eviction, units, by_bytes, table, seen=seen, touches=touches)
        found = (int((results.outcome == 1).sum()), results.prefetches.issued, results.prefetches.useful)
        assert found == expected
        assert expected[1] > 100
        assert set(np.unique(results.outcome)) <= {0, 1, 4}


@pytest.mark.parametrize("eviction", EVICTIONS[:-1])
@pytest.mark.parametrize("backing", ["all", "seen"])
@pytest.mark.parametrize("touches", [False, True])
def test_without_time_the_shadow_that_follows_the_same_arms_misses_alike(eviction, backing, touches):
    trace = three_tenants(2_500)
    config = CacheConfig(
        objects=60,
        eviction=eviction,
        tier=SLOW,
        demand="timeless",
        ghost=True,
        prefetcher="next-line",
        degree=8,
        menu=("none", "next-line:8", "stride:4"),
        backing=backing,
        prefetch_touches=touches,
        controller="hysteresis",
    )
    simulator = PrefetchSimulator(config, trace, decide="policy")
    while (point := simulator.advance()) is not None:
        assert simulator.misses == simulator.ghost_misses
        simulator.apply(simulator.standing_arm(point.tenant))
    assert simulator.misses == simulator.ghost_misses > 200
    assert simulator.prefetches().issued > 300
