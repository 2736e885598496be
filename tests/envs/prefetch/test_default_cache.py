"""The cache and the tier for a trace where nothing else is said, held against a replay."""

from __future__ import annotations

import numpy as np
import pytest
from prefetch_samples import one_tenant, three_tenants

from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, TierConfig, default_cache
from handrail.envs.prefetch.default_cache import demand_misses, tier_utilisation
from handrail.traces import HandrailError


def used(config: CacheConfig, trace) -> float:
    """Share of the tier's time that a replay without prefetching uses, over the time of the trace."""
    simulator = PrefetchSimulator(config.model_copy(update={"prefetcher": "none"}), trace)
    assert simulator.advance() is None
    return sum(simulator.results().work_s) / trace.duration_s


@pytest.mark.parametrize("eviction", ["lru", "s3fifo", "belady"])
def test_demand_misses_alone_use_the_said_share_of_the_tier(eviction):
    trace = one_tenant(20_000, size_bytes=np.random.default_rng(1).integers(512, 65_536, 20_000))
    config = default_cache(trace, eviction=eviction)
    assert config.objects == trace.distinct_objects // 10
    assert tier_utilisation(trace, config) == pytest.approx(0.6, rel=1e-9)
    assert used(config, trace) == pytest.approx(0.6, rel=0.05)
    # Without time the loop that sized the tier is exact.
    timeless = PrefetchSimulator(config.model_copy(update={"prefetcher": "none", "demand": "timeless"}), trace)
    timeless.advance()
    fetches, n_bytes = demand_misses(trace, config)
    assert (timeless.misses, timeless.tier.submitted_bytes[0]) == (fetches, n_bytes)


def test_half_of_an_average_fetch_is_fixed_and_the_latency_is_ten_of_them():
    trace = three_tenants(5_000)
    config = default_cache(trace)
    tier = config.tier
    assert tier.service_s == pytest.approx(4096 / tier.bandwidth_bytes_per_s, rel=1e-9)
    assert tier.latency_s == pytest.approx(10 * tier.work_s(4096), rel=1e-9)
    assert config.hit_s == pytest.approx(1e-3 * config.unloaded_miss_s, rel=1e-9)
    assert config.prefetcher == "obl"
    assert config.controller == "hysteresis"


def test_what_is_given_stays():
    trace = three_tenants(5_000)
    assert default_cache(trace, objects=77).objects == 77
    assert default_cache(trace, size_bytes=2**20).capacity == 2**20
    assert default_cache(trace, share=0.5).objects == trace.distinct_objects // 2
    assert default_cache(trace, hit_s=0.125).hit_s == 0.125
    ordered = default_cache(trace, tier={"discipline": "demand-first"})
    assert ordered.tier == default_cache(trace).tier.model_copy(update={"discipline": "demand-first"})
    whole = TierConfig(latency_s=1.0, service_s=2.0, bandwidth_bytes_per_s=3.0)
    assert default_cache(trace, tier=whole.model_dump()).tier == whole
    light = default_cache(trace, tier_load=0.2)
    assert tier_utilisation(trace, light) == pytest.approx(0.2, rel=1e-9)


def test_a_smaller_load_leaves_the_tier_idle_for_longer():
    trace = one_tenant(8_000)
    shares = [used(default_cache(trace, tier_load=load), trace) for load in (0.2, 0.5, 0.8)]
    assert shares == pytest.approx([0.2, 0.5, 0.8], rel=0.06)


def test_a_trace_without_duration_needs_a_tier():
    trace = one_tenant(100).replace(arrival_s=np.zeros(100))
    with pytest.raises(HandrailError, match="no tier can be sized"):
        default_cache(trace)
    assert default_cache(trace, tier=TierConfig().model_dump()).tier == TierConfig()
    assert default_cache(trace, demand="timeless", every_accesses=10).demand == "timeless"


def test_a_wrong_field_is_named():
    with pytest.raises(HandrailError, match="eviction"):
        default_cache(one_tenant(200), eviction="rubbish")
