"""A tier that is slow for a while: what it costs, what stays, and that nobody knows of it beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from cache_workloads import drive
from prefetch_samples import three_tenants

from handrail.envs.prefetch import CacheConfig, MiddleConfig, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace
from handrail.traces.errors import HandrailError

DISCIPLINES = ("fifo", "demand-first", "bounded")


def tier(discipline: str, *slowdowns: tuple[float, float, float]) -> TierConfig:
    return TierConfig(
        latency_s=5e-3,
        service_s=4e-4,
        bandwidth_bytes_per_s=1e7,
        discipline=discipline,
        prefetch_queue=3,
        slowdowns=slowdowns,
    )


def replay(config_tier: TierConfig, **options: object):
    trace = three_tenants(3_000)
    values = {"objects": 200, "menu": ("none", "obl:1", "stride:4", "amp:4"), "every_accesses": 20, **options}
    simulator = PrefetchSimulator(CacheConfig(tier=config_tier, **values), trace, decide="policy")
    points = drive(simulator, [(place % 4, 0.0) for place in range(500)])
    simulator.engine.check_invariants()
    return simulator.results(), points


@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("demand", ["open", "paced", "timeless"])
def test_a_slowdown_that_never_comes_changes_nothing(discipline, demand):
    plain, _ = replay(tier(discipline), demand=demand)
    slowed, _ = replay(tier(discipline, (1e6, 2e6, 4.0)), demand=demand)
    for column in ("finish_s", "access_s", "outcome", "row"):
        np.testing.assert_array_equal(getattr(slowed, column), getattr(plain, column), err_msg=column)
    assert slowed.prefetches == plain.prefetches
    assert slowed.fetch_bytes == plain.fetch_bytes
    np.testing.assert_allclose(slowed.waited_s, plain.waited_s, rtol=1e-9)


def lone_misses(gap_s: float, n: int = 200) -> AccessTrace:
    return AccessTrace(np.arange(n) * gap_s, np.arange(n), np.full(n, 1000))


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_services_that_start_within_it_take_the_factor_and_no_others_do(discipline):
    link = TierConfig(
        latency_s=0.25,
        service_s=0.5,
        bandwidth_bytes_per_s=2000.0,
        discipline=discipline,
        slowdowns=((100.0, 201.0, 4.0), (400.0, 401.0, 2.0)),
    )
    config = CacheConfig(objects=5, tier=link, prefetcher="none", controller="fixed")
    simulator = PrefetchSimulator(config, lone_misses(10.0))
    assert simulator.advance() is None
    results = simulator.results()
    expected = np.full(200, 1.25)
    expected[10:21] = 4.25
    expected[40] = 2.25
    np.testing.assert_allclose(results.access_s, expected)
    assert sum(results.work_s) == pytest.approx(188 + 11 * 4 + 2)
    assert simulator.tier.work_s(simulator.now_s) == pytest.approx(sum(results.work_s))


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_md1_under_a_slowdown_waits_as_pollaczek_and_khinchine_say(discipline):
    """Services of 1 s at half the usual speed and half the usual rate: the queue of twice the load."""
    n, factor, rate = 24_000, 2.0, 0.4
    rng = np.random.default_rng(np.random.SeedSequence([2029, 1]))
    trace = AccessTrace(np.cumsum(rng.exponential(1 / rate, n)), np.arange(n), np.full(n, 1000))
    link = TierConfig(
        latency_s=7.0,
        service_s=0.5,
        bandwidth_bytes_per_s=2000.0,
        discipline=discipline,
        slowdowns=((0.0, 1e9, factor),),
    )
    config = CacheConfig(objects=10, tier=link, prefetcher="none", controller="fixed")
    simulator = PrefetchSimulator(config, trace)
    assert simulator.advance() is None
    results = simulator.results()
    waits = results.access_s - 7.0 - factor
    load = rate * factor
    batches = waits.reshape(30, -1).mean(axis=1)[1:]
    half = 2.763 * batches.std(ddof=1) / np.sqrt(len(batches))
    assert abs(batches.mean() - load * factor / (2 * (1 - load))) <= half
    assert half < 0.3 * batches.mean()
    assert sum(results.work_s) == pytest.approx(n * factor)


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_all_that_is_fetched_arrives_and_the_server_is_never_idle_with_work(discipline):
    results, _ = replay(tier(discipline, (0.3, 1.2, 4.0)))
    plain, _ = replay(tier(discipline))
    assert np.isfinite(results.finish_s).all()
    assert sum(results.work_s) > sum(plain.work_s)
    assert results.access_s.mean() > plain.access_s.mean()
    counts = results.prefetches
    assert counts.issued == sum(counts[1:])
    assert counts.in_flight == 0


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_nothing_is_known_of_it_before_it_comes(discipline):
    onset_s = 1.0
    seen = []
    for slowdowns in ((onset_s, 1.5, 4.0),), ((onset_s, 3.0, 9.0),):
        trace = three_tenants(3_000)
        config = CacheConfig(objects=200, tier=tier(discipline, *slowdowns), every_accesses=10)
        simulator = PrefetchSimulator(config, trace, decide="policy")
        log = []
        while (point := simulator.advance()) is not None and point.now_s < onset_s:
            link = simulator.tier
            log.append((point.now_s, point.outcomes, link.backlog_s(point.now_s), link.work_s(point.now_s)))
            simulator.apply(point.decision % len(simulator.arms))
        seen.append(log)
    assert len(seen[0]) > 50
    assert seen[0] == seen[1]


def test_a_middle_tier_can_be_slow_too():
    slow = MiddleConfig(objects=400, tier=tier("fifo", (0.0, 10.0, 8.0)))
    usual = MiddleConfig(objects=400, tier=tier("fifo"))
    results, _ = replay(tier("fifo"), middle=slow)
    plain, _ = replay(tier("fifo"), middle=usual)
    assert results.access_s.mean() > 1.5 * plain.access_s.mean()


@pytest.mark.parametrize(
    ("slowdowns", "what"),
    [
        ([(2.0, 1.0, 4.0)], "is no span of time"),
        ([(-1.0, 1.0, 4.0)], "is no span of time"),
        ([(0.0, 1.0, 0.0)], "factor must be above 0"),
        ([(0.0, 2.0, 2.0), (1.0, 3.0, 2.0)], "slowdowns overlap at 1.0 s"),
        ([(0.0, float("nan"), 2.0)], "finite"),
    ],
)
def test_wrong_slowdowns_are_refused(slowdowns, what):
    with pytest.raises(HandrailError, match=what) as caught:
        CacheConfig.parse(objects=10, tier={"slowdowns": slowdowns})
    assert "tier.slowdowns" in str(caught.value)
    assert "\n" not in str(caught.value)
