"""The load that accesses put on a backing tier, and how it is changed."""

from __future__ import annotations

import numpy as np
import pytest
from access_fakes import accesses

from handrail.envs.prefetch import CacheConfig, TierConfig
from handrail.envs.prefetch.default_cache import default_cache, tier_utilisation
from handrail.experiments.load_accesses import (
    N_WINDOWS,
    change_access_load,
    change_access_rate,
    demand_misses,
    describe_access_traffic,
)
from handrail.traces import AccessTrace, HandrailError

CACHE = CacheConfig(objects=50, tier=TierConfig(service_s=0.001, bandwidth_bytes_per_s=1e6))


def hand_made(keys: list[int], arrival_s: list[float], size_bytes: int = 1000) -> AccessTrace:
    return AccessTrace(arrival_s=arrival_s, key=keys, size_bytes=[size_bytes] * len(keys))


def test_demand_load_is_the_misses_work_over_time():
    trace = hand_made([1, 2, 1, 3, 1, 1], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    two = CACHE.model_copy(update={"objects": 2})
    assert demand_misses(trace, two).tolist() == [True, True, False, True, False, False]
    traffic = describe_access_traffic(trace, two)
    assert traffic.miss_ratio == 0.5
    assert traffic.demand_load == pytest.approx(3 * (0.001 + 1000 / 1e6) / 0.5)
    assert traffic.accesses_per_s == pytest.approx(12.0)


def test_it_is_what_the_default_tier_is_sized_by():
    trace = accesses(800)
    config = default_cache(trace, tier_load=0.45)
    assert describe_access_traffic(trace, config).demand_load == pytest.approx(0.45)
    assert describe_access_traffic(trace, config).demand_load == pytest.approx(tier_utilisation(trace, config))


@pytest.mark.parametrize("eviction", ["lru", "s3fifo", "belady"])
def test_in_bytes_and_under_any_rule_it_counts_what_is_missed(eviction):
    trace = accesses(400)
    few, many = (CacheConfig(size_bytes=4096 * n, eviction=eviction) for n in (20, 100))
    assert 0 < demand_misses(trace, many).sum() < demand_misses(trace, few).sum()
    by_objects = CacheConfig(objects=20, eviction=eviction)
    if eviction != "s3fifo":  # whose parts of the cache are rounded otherwise in bytes
        assert (demand_misses(trace, few) == demand_misses(trace, by_objects)).all()


def test_tenths_of_the_time_add_up_to_the_whole():
    traffic = describe_access_traffic(accesses(500), CACHE)
    assert len(traffic.window_loads) == N_WINDOWS
    assert np.mean(traffic.window_loads) == pytest.approx(traffic.demand_load)


def test_a_rate_is_compressed_so_that_the_sequence_stays():
    trace = accesses(500)
    changed, change = change_access_rate(trace, 2.0, CACHE)
    assert change.method == "compress"
    assert (changed.key == trace.key).all()
    assert changed.duration_s == pytest.approx(trace.duration_s / 2)
    assert change.after.miss_ratio == change.before.miss_ratio
    assert change.utilisation == pytest.approx(2 * change.before.demand_load)
    assert change.to_json()["utilisation"] == change.utilisation


@pytest.mark.parametrize("method", [None, "compress", "thin"])
def test_a_load_is_reached(method):
    trace = accesses(3000)
    offered = describe_access_traffic(trace, CACHE).demand_load
    changed, change = change_access_load(trace, 0.7 * offered, CACHE, method)
    assert change.method == (method or "compress")
    assert change.utilisation == pytest.approx(0.7 * offered, rel=0.12)
    assert change.utilisation == describe_access_traffic(changed, CACHE).demand_load
    assert change.note() is None
    assert f"{offered:.4g} -> {change.utilisation:.4g} of the tier" in change.sentence()


def test_a_load_that_superposing_misses_is_said():
    # Each copy has ids of its own, and the popular ones of four do not fit any more.
    trace = accesses(2000, gap_s=0.1)
    cache = CACHE.model_copy(update={"objects": 90})
    offered = describe_access_traffic(trace, cache).demand_load
    changed, change = change_access_load(trace, 4 * offered, cache, "superpose")
    assert len(changed) == 4 * len(trace)
    assert change.after.miss_ratio > change.before.miss_ratio
    assert change.note() == f"a load of {4 * offered:g} was asked for and {change.utilisation:.3f} reached"


def test_a_tier_that_demand_alone_overloads_is_said():
    slow = CACHE.model_copy(update={"tier": TierConfig(service_s=0.5)})
    change = change_access_rate(accesses(300), 1.0, slow)[1]
    assert change.method == "as-is"
    assert "(which cannot keep up)" in change.sentence()
    assert change.note().endswith("which cannot keep up; --load 0.6 brings it down")


def test_a_burst_is_said():
    steady = accesses(1000, gap_s=0.01)
    paused = steady.replace(arrival_s=steady.arrival_s + np.where(np.arange(1000) < 500, 0.0, 30.0))
    calm, busy = (default_cache(steady, tier_load=load) for load in (0.5, 1.5))
    change = change_access_rate(paused, 1.0, calm)[1]
    assert change.utilisation < 0.2
    assert change.note() is None
    change = change_access_rate(paused, 1.0, busy)[1]
    over = [load for load in change.after.window_loads if load > 1.0]
    assert change.utilisation < 0.5
    assert change.note().startswith(f"accesses come in bursts: in {len(over)} of 10 tenths of the time")
    assert f"up to {max(over):.2f} of the backing tier" in change.note()


@pytest.mark.parametrize("demand", ["closed", "timeless"])
def test_where_accesses_follow_each_other_no_load_is_measured(demand):
    trace = accesses(20)
    changed, change = change_access_rate(trace, 1.0, CACHE.model_copy(update={"demand": demand}))
    assert changed is trace
    assert change.utilisation is None
    assert change.note() is None
    assert change.to_json()["before"] is None
    assert "not at the trace's times" in change.sentence()


def test_what_has_no_load_cannot_be_brought_to_one():
    at_once = accesses(5).replace(arrival_s=np.zeros(5))
    with pytest.raises(HandrailError, match="puts no load on the backing tier"):
        change_access_load(at_once, 0.8, CACHE)
    with pytest.raises(HandrailError, match="--load must be a positive share"):
        change_access_load(accesses(5), 0.0, CACHE)
    with pytest.raises(HandrailError, match="no access is left"):
        change_access_rate(accesses(5), 1e-6, CACHE, "thin")
