"""Every metric on examples that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cache_workloads import suggestions

from handrail.envs.prefetch import (
    FIRST_USE,
    HIT,
    LATE,
    MERGED,
    MISS,
    CacheConfig,
    PrefetchCounts,
    PrefetchResults,
    PrefetchSimulator,
    TierConfig,
)
from handrail.envs.prefetch.metrics import (
    Objective,
    accuracy,
    compute_metrics,
    coverage,
    hit_ratio,
    relative_access,
    timeliness,
)
from handrail.envs.prefetch.pollution import polluted_misses, shadow_hits
from handrail.traces import AccessTrace

TIER = TierConfig(latency_s=1.5, service_s=0.5, bandwidth_bytes_per_s=100.0)
INF = float("inf")


def results_of(**columns: object) -> PrefetchResults:
    """Ten accesses of two tenants; an unloaded miss takes 2 s."""
    values = {
        "config": CacheConfig(objects=4, tier=TIER, hit_s=0.5),
        "arrival_s": np.arange(10.0),
        "outcome": np.array([MISS, HIT, MISS, LATE, MERGED, FIRST_USE, HIT, MISS, FIRST_USE, MISS], dtype=np.int8),
        "access_s": np.array([2.0, 0.5, 4.0, 1.0, 3.0, 0.5, 0.5, 12.0, 0.5, INF]),
        "tenant": np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
        "key": np.array([1, 1, 2, 3, 2, 4, 4, 5, 6, 7]),
        "size_bytes": np.full(10, 50),
        "is_write": np.arange(10) == 9,
        "row": np.arange(10),
        "measured": np.ones(10, dtype=bool),
        "tenant_names": ("web", "scan"),
        "prefetches": PrefetchCounts(10, 2, 1, 3, 2, 1, 1),
        "prefetches_by_tenant": (PrefetchCounts(4, 0, 1, 3, 0, 0, 0), PrefetchCounts(6, 2, 0, 0, 2, 1, 1)),
        "issued_by_arm": {"none": 0, "obl:1": 10},
        "polluted": 0,
        "fetches": (4, 9, 1),
        "fetch_bytes": (200, 450, 50),
        "work_s": (4.0, 9.0, 1.0),
        "waited_s": (6.0, 18.0, 0.0),
        "near_bytes": None,
        "end_s": 28.0,
        "warm_keys": (),
        "warm_units": (),
        **columns,
    }
    values.setdefault("finish_s", values["arrival_s"] + values["access_s"])
    return PrefetchResults(**values)


def test_latencies():
    found = compute_metrics(results_of())
    access_s = found["access_s"]
    assert access_s["mean"] is None
    assert access_s["max"] is None
    assert access_s["p999"] is None
    assert access_s["p50"] == 1.5  # between 1 and 2
    assert found["lost"] == {"unfinished": 1}
    finite = compute_metrics(results_of(access_s=np.arange(10.0)))
    assert finite["access_s"] == pytest.approx(
        {"mean": 4.5, "p50": 4.5, "p90": 8.1, "p95": 8.55, "p99": 8.91, "p999": 8.991, "max": 9.0}
    )
    np.testing.assert_array_equal(relative_access(results_of())[:4], [1.0, 0.25, 2.0, 0.5])


def test_the_objective_is_in_unloaded_misses():
    assert compute_metrics(results_of())["slo_attainment"] == 0.8  # 12 s are 6 misses, and one never ended
    assert compute_metrics(results_of(), Objective(slo_misses=6.0))["slo_attainment"] == 0.9
    assert compute_metrics(results_of(), Objective(slo_misses=1.0))["slo_attainment"] == 0.6


def test_counts_of_accesses():
    found = compute_metrics(results_of())
    assert found["accesses"] == found["measured_accesses"] == 10
    assert found["misses"] == 4
    assert found["delayed_hits"] == 2
    assert found["hit_ratio"] == 0.4
    assert found["coverage"] == 3 / 7  # two first uses and a late one, against four misses
    assert hit_ratio(np.array([HIT, MISS, FIRST_USE, LATE], dtype=np.int8)) == 0.5
    assert coverage(np.array([HIT, MERGED], dtype=np.int8)) is None


def test_counts_of_prefetches():
    found = compute_metrics(results_of())
    assert found["prefetches"] == 10
    assert found["accuracy"] == 0.5  # 2 useful and 1 late, against 3 useless
    assert found["timeliness"] == 2 / 3
    assert found["prefetches_by_arm"] == {"obl:1": 10}
    ends = {"issued": 10, "useful": 2, "late": 1, "useless": 3, "resident": 2, "dropped": 1, "in_flight": 1}
    assert found["prefetches_by_end"] == ends
    nothing = PrefetchCounts(3, 0, 0, 0, 2, 1, 0)
    assert accuracy(nothing) is None
    assert timeliness(nothing) is None


def test_the_tier():
    found = compute_metrics(results_of())
    # Without prefetching seven objects of 50 bytes would have missed, and the last one is written whole.
    moved = {"demand": 200, "prefetch": 450, "write_back": 50, "total": 700, "fetched_over_alone": 650 / 300}
    assert found["bytes"] == moved
    assert found["utilisation"] == 0.5
    assert found["queueing_delay_s"] == {"demand": 1.5, "prefetch": 2.0, "write_back": 0.0}
    assert found["middle_bytes"] is None
    near = compute_metrics(results_of(near_bytes=(1, 2, 3), fetches=(4, 0, 1)))
    assert near["middle_bytes"] == {"demand": 1, "prefetch": 2, "write_back": 3}
    assert near["queueing_delay_s"]["prefetch"] is None


def test_tenants():
    found = compute_metrics(results_of())["tenants"]
    assert list(found) == ["web", "scan"]
    assert found["web"]["accesses"] == 5
    assert found["web"]["access_s"]["mean"] == 2.1
    assert found["web"]["hit_ratio"] == 0.2
    assert found["web"]["coverage"] == 1 / 3
    assert found["web"]["accuracy"] == 0.25
    assert found["scan"]["hit_ratio"] == 0.6
    assert found["scan"]["accuracy"] == 1.0
    assert found["scan"]["prefetches"] == 6
    assert found["scan"]["access_s"]["p99"] is None
    alone = compute_metrics(
        results_of(
            tenant=np.zeros(10, dtype=np.int64),
            tenant_names=(),
            prefetches_by_tenant=(PrefetchCounts(10, 2, 1, 3, 2, 1, 1),),
        )
    )["tenants"]
    assert list(alone) == ["all"]


def test_only_measured_accesses_count():
    measured = np.arange(10) < 5
    found = compute_metrics(results_of(measured=measured))
    assert (found["accesses"], found["measured_accesses"], found["misses"]) == (10, 5, 2)
    assert found["access_s"]["max"] == 4.0
    assert found["lost"] == {"unfinished": 0}
    assert list(found["tenants"]) == ["web"]
    assert found["prefetches"] == 10  # accounts are over all of it
    with pytest.raises(ValueError, match="no access is measured"):
        compute_metrics(results_of(measured=np.zeros(10, dtype=bool)))


def replay(rows, table, *, objects: int, warm: int = 0, **options) -> PrefetchResults:
    """Accesses 10 s apart, so that every fetch has arrived by the next one."""
    trace = AccessTrace(10.0 * np.arange(len(rows)), rows, [50] * len(rows))
    config = CacheConfig(objects=objects, tier=TIER, prefetcher="next-line", degree=4, controller="fixed", **options)
    with suggestions({"next-line": table}):
        simulator = PrefetchSimulator(config, trace, rows=(warm, len(rows)), warm=warm)
        assert simulator.advance() is None
    return simulator.results()


def test_pollution_is_what_a_cache_without_prefetching_would_have_held():
    """Of 2 objects under LRU: prefetch 9 drives out 1, which is asked for again; 3 would have missed anyway."""
    results = replay([1, 2, 1, 3, 1], [(), (9,), (), (), ()], objects=2)
    assert results.outcome.tolist() == [MISS, MISS, MISS, MISS, HIT]
    assert shadow_hits(results).tolist() == [False, False, True, False, True]
    assert polluted_misses(results, shadow_hits(results)).tolist() == [False, False, True, False, False]
    found = compute_metrics(results)
    assert found["pollution"] == {"misses": 1, "share_of_misses": 0.25}
    assert results.polluted == 1  # the running count sees the same here


def test_nothing_is_polluted_without_prefetches():
    results = replay([1, 2, 1, 3, 1], [()] * 5, objects=2)
    assert not polluted_misses(results, shadow_hits(results)).any()
    assert compute_metrics(results)["pollution"] == {"misses": 0, "share_of_misses": 0.0}


def test_the_shadow_starts_warm_where_the_cache_does():
    results = replay([1, 2, 1, 3, 2], [(), (), (), (), ()], objects=2, warm=2)
    assert results.outcome.tolist() == [HIT, MISS, MISS]
    assert shadow_hits(results).tolist() == [True, False, False]


def test_the_shadow_of_belady_knows_the_future():
    """Of 2 objects the one goes that is asked for last again, warmed or not: 2 when 3 comes, then 1 when 2 comes."""
    rows = [1, 2, 1, 3, 1, 2, 3, 1]
    cold, warm = (replay(rows, [()] * 8, objects=2, warm=warm, eviction="belady") for warm in (0, 3))
    assert warm.outcome.tolist() == [MISS, HIT, MISS, HIT, MISS]
    assert cold.outcome.tolist() == [MISS, MISS, HIT, *warm.outcome.tolist()]
    for results in (cold, warm):
        np.testing.assert_array_equal(shadow_hits(results), results.outcome == HIT)


def test_a_metric_of_a_replay_by_hand():
    """Work of a fetch 1 s, then 1.5 s: a miss takes 2.5 s."""
    results = replay([1, 2, 1, 9], [(9,), (), (), ()], objects=8, hit_s=0.25)
    found = compute_metrics(results)
    assert results.access_s.tolist() == [2.5, 2.5, 0.25, 0.25]
    assert results.outcome.tolist() == [MISS, MISS, HIT, FIRST_USE]
    assert found["queueing_delay_s"] == {"demand": 0.0, "prefetch": 1.0, "write_back": None}
    assert found["bytes"]["fetched_over_alone"] == 1.0
    assert found["utilisation"] == 3.0 / 30.0
    assert found["coverage"] == 1 / 3
    assert (found["accuracy"], found["timeliness"]) == (1.0, 1.0)
    later = replace(results, end_s=60.0)
    assert compute_metrics(later)["utilisation"] == 0.05
