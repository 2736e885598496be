"""A decision may take simulated time: until then the old arm rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cache_workloads import suggestions

from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace, HandrailError

N = 40
TIER = TierConfig(latency_s=0.25, service_s=0.125, bandwidth_bytes_per_s=1e6)


def simulator_of(*, tenants: bool = False, **options: object) -> PrefetchSimulator:
    """An access a second, each to another object; each suggests one of its own: row r the object 1000 + r."""
    tenant = {"tenant": np.arange(N) % 2, "tenant_names": ("a", "b")} if tenants else {}
    trace = AccessTrace(np.arange(float(N)), np.arange(N), np.ones(N, dtype=int), **tenant)
    table = [(1000 + row, 2000 + row) for row in range(N)]
    values = {"objects": 500, "menu": ("none", "next-line:1", "next-line:2"), "prefetcher": "none", **options}
    with suggestions({"next-line": table}):
        return PrefetchSimulator(CacheConfig(tier=TIER, **values), trace, decide="policy")


def prefetched(simulator: PrefetchSimulator) -> list[int]:
    return [row for row in range(N) if 1000 + row in simulator.engine.cache]


@pytest.mark.parametrize(
    ("latency_s", "first"), [(0.0, 0), (0.5, 1), (5.0, 5), (5.5, 6), (38.5, 39), (39.0, 39), (39.5, N), (1e6, N)]
)
def test_an_arm_rules_from_its_moment_on(latency_s, first):
    simulator = simulator_of(every_accesses=100)
    simulator.advance()
    simulator.apply(1, latency_s)
    assert simulator.advance() is None
    assert prefetched(simulator) == list(range(first, N))
    assert simulator.prefetches().issued == N - first


def test_the_old_arm_rules_until_then():
    simulator = simulator_of(every_accesses=10)
    for arm, latency_s in ((1, 0.0), (0, 3.5), (2, 2.0), (1, 0.0)):
        simulator.advance()
        assert simulator.current_arm(-1) in (-1, 0, 1, 2)
        simulator.apply(arm, latency_s)
    assert simulator.advance() is None
    assert prefetched(simulator) == [*range(14), *range(22, 40)]
    assert [row for row in range(N) if 2000 + row in simulator.engine.cache] == list(range(22, 30))


def test_each_tenant_waits_for_its_own_arm():
    simulator = simulator_of(tenants=True, per_tenant=True, every_accesses=100)
    for latency_s in (4.0, 20.5):
        point = simulator.advance()
        assert point is not None
        simulator.apply(1, latency_s)
    assert simulator.advance() is None
    assert prefetched(simulator) == [row for row in range(N) if row >= (4, 21)[row % 2]]


def test_without_time_an_answer_is_there_before_the_next_access():
    simulator = simulator_of(demand="timeless", every_accesses=10)
    while simulator.advance() is not None:
        simulator.apply(1, 123.0)
    assert prefetched(simulator) == list(range(N))


def test_an_arm_that_comes_after_all_is_done_does_not_keep_the_tier():
    ends = []
    for latency_s in (0.0, 1e6):
        simulator = simulator_of(every_accesses=100)
        simulator.advance()
        simulator.apply(0, latency_s)
        assert simulator.advance() is None
        ends.append(simulator.results().end_s)
    assert ends[0] == ends[1] == N - 1 + 0.125 + 1e-6 + 0.25
    assert simulator.now_s == ends[0]


def test_the_protocol_of_questions_and_answers_is_kept():
    simulator = simulator_of()
    with pytest.raises(HandrailError, match="advance"):
        simulator.apply(0)
    simulator.advance()
    with pytest.raises(HandrailError, match="apply"):
        simulator.advance()
    for action in (-1, 3):
        with pytest.raises(HandrailError, match="none of the menu's 3"):
            simulator.apply(action)
    for latency_s in (-1.0, math.inf, math.nan):
        with pytest.raises(HandrailError, match="latency"):
            simulator.apply(0, latency_s)
    simulator.apply(0)
    with pytest.raises(HandrailError, match="advance"):
        simulator.apply(0)
