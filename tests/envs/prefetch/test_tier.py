"""The tier as a queue with known answers: M/D/1, M/M/1, priorities without preemption, and what is conserved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cache_workloads import drive, suggestions
from numpy.typing import NDArray

from handrail.envs.prefetch import MISS, CacheConfig, PrefetchResults, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.fetch import DEMAND, PREFETCH
from handrail.experiments.statistics.student import student_t_quantile
from handrail.traces import AccessTrace

Floats = NDArray[np.float64]

BATCHES = 30
LATENCY_S = 7.0


def interval_99(means: Floats) -> tuple[float, float]:
    """Mean and half-width of its 99 % confidence interval."""
    t = student_t_quantile(0.995, len(means) - 1)
    return float(means.mean()), t * float(means.std(ddof=1)) / math.sqrt(len(means))


def batches(values: Floats) -> Floats:
    """Batch means, the first one left out as warm-up."""
    return values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)[1:]


def misses(n: int, rate: float, size_bytes: NDArray[np.int64], seed: int) -> AccessTrace:
    """Poisson accesses, every one to another object."""
    rng = np.random.default_rng(np.random.SeedSequence([2027, seed]))
    return AccessTrace(np.cumsum(rng.exponential(1 / rate, n)), np.arange(n), size_bytes)


def replay(trace: AccessTrace, tier: TierConfig, **options: object) -> PrefetchResults:
    values = {"objects": 10, "prefetcher": "none", "controller": "fixed", **options}
    simulator = PrefetchSimulator(CacheConfig.parse(tier=tier.model_dump(), **values), trace)
    assert simulator.advance() is None
    return simulator.results()


@pytest.mark.parametrize(
    ("load", "discipline"), [(0.5, "fifo"), (0.8, "fifo"), (0.8, "demand-first"), (0.8, "bounded")]
)
def test_md1_waits_as_pollaczek_and_khinchine_say(load, discipline):
    n = 24_000
    tier = TierConfig(latency_s=LATENCY_S, service_s=0.5, bandwidth_bytes_per_s=2000.0, discipline=discipline)
    results = replay(misses(n, load, np.full(n, 1000), 1), tier)
    assert (results.outcome == MISS).all()
    wait_s = results.access_s - LATENCY_S - 1.0
    assert wait_s.min() >= -1e-6
    mean, half = interval_99(batches(wait_s))
    assert abs(mean - load / (2 * (1 - load))) <= half
    assert half <= 0.3 * mean
    assert results.waited_s[DEMAND] == pytest.approx(wait_s.sum(), rel=1e-6)
    assert sum(results.work_s) / results.end_s == pytest.approx(load, rel=0.03)


def test_mm1_waits_as_pollaczek_and_khinchine_say():
    """Exponential sizes: the wait is load over 1 - load services, and a share of 1 - load does not wait."""
    n, load = 24_000, 0.6
    rng = np.random.default_rng(np.random.SeedSequence([2028, 1]))
    sizes = np.maximum(rng.exponential(1e9, n).astype(np.int64), 1)
    tier = TierConfig(latency_s=LATENCY_S, service_s=0.0, bandwidth_bytes_per_s=1e9)
    results = replay(misses(n, load, sizes, 2), tier)
    wait_s = results.access_s - LATENCY_S - sizes / 1e9
    for values, expected in ((wait_s, load / (1 - load)), ((wait_s > 1e-6).astype(float), load)):
        mean, half = interval_99(batches(values))
        assert abs(mean - expected) <= half
        assert half <= 0.3 * mean


def two_classes(
    seed: int, n: int, demand_rate: float, prefetch_rate: float
) -> tuple[AccessTrace, list[tuple[int, ...]]]:
    """Accesses of which some miss, each another object, and the others touch one object and suggest another one each:
    two independent Poisson streams of demand fetches and of prefetches."""
    rng = np.random.default_rng(np.random.SeedSequence([2029, seed]))
    is_demand = rng.random(n) < demand_rate / (demand_rate + prefetch_rate)
    is_demand[0] = False  # the object that is touched again and again
    keys = np.where(is_demand, 2 * np.arange(n), 10 * n)
    arrival_s = np.cumsum(rng.exponential(1 / (demand_rate + prefetch_rate), n))
    suggested = [() if demand else (2 * row + 1,) for row, demand in enumerate(is_demand.tolist())]
    return AccessTrace(arrival_s, keys, np.full(n, 1000)), suggested


def replay_classes(seed: int, n: int, rates: tuple[float, float], discipline: str) -> PrefetchResults:
    trace, suggested = two_classes(seed, n, *rates)
    tier = TierConfig(latency_s=0.0, service_s=0.5, bandwidth_bytes_per_s=2000.0, discipline=discipline)
    with suggestions({"next-line": suggested}):
        return replay(trace, tier, objects=2 * n, prefetcher="next-line")


def test_demand_first_waits_as_cobham_says():
    """Cobham (1954): W0 / (1 - load of demand) for demand, that over 1 - load of both for prefetches."""
    rates = (0.45, 0.35)
    residual_s = sum(rates) / 2  # of services of 1 s
    expected = (residual_s / (1 - rates[0]), residual_s / (1 - rates[0]) / (1 - sum(rates)))
    runs = [replay_classes(seed, 4_000, rates, "demand-first") for seed in range(20)]
    for kind, wait_s in zip((DEMAND, PREFETCH), expected, strict=True):
        mean, half = interval_99(np.array([run.waited_s[kind] / run.fetches[kind] for run in runs]))
        assert abs(mean - wait_s) <= half
        assert half <= 0.3 * mean


@pytest.mark.parametrize("seed", range(3))
def test_a_discipline_that_conserves_work_changes_only_who_waits(seed):
    """Fetches of equal work: their order does not change when the server is busy, nor the sum of all waits."""
    plain = replay_classes(seed, 3_000, (0.5, 0.45), "fifo")
    ordered = replay_classes(seed, 3_000, (0.5, 0.45), "demand-first")
    assert plain.fetches == ordered.fetches
    assert plain.work_s == ordered.work_s
    assert plain.end_s == pytest.approx(ordered.end_s, rel=1e-9)
    assert sum(plain.waited_s) == pytest.approx(sum(ordered.waited_s), rel=1e-6)
    assert ordered.waited_s[DEMAND] < 0.5 * plain.waited_s[DEMAND]


@pytest.mark.parametrize("discipline", ["fifo", "demand-first", "bounded"])
def test_backlog_and_time_in_use_follow_from_the_work_submitted(discipline):
    """At every access: Lindley's recursion, and time in use is what was submitted less what is still to be done."""
    trace, suggested = two_classes(9, 1_500, 0.55, 0.4)
    tier = TierConfig(latency_s=3.0, service_s=0.5, bandwidth_bytes_per_s=2000.0, discipline=discipline)
    config = CacheConfig(objects=5_000, tier=tier, menu=("none", "next-line:1"), every_accesses=1, prefetcher="none")
    backlog_s = then_s = 0.0
    submitted = 0
    with suggestions({"next-line": suggested}):
        simulator = PrefetchSimulator(config, trace, decide="policy")
        while (point := simulator.advance()) is not None:
            backlog_s = max(backlog_s + (sum(simulator.tier.submitted) - submitted) - (point.now_s - then_s), 0.0)
            then_s, submitted = point.now_s, sum(simulator.tier.submitted)
            assert simulator.tier.backlog_s(then_s) == pytest.approx(backlog_s, abs=1e-6)
            assert simulator.tier.work_s(then_s) == pytest.approx(submitted - backlog_s, abs=1e-6)
            simulator.apply(1)
    results = simulator.results()
    assert simulator.tier.backlog_s(results.end_s) == 0.0
    assert simulator.tier.work_s(results.end_s) == pytest.approx(sum(results.work_s), rel=1e-12)
    if discipline == "bounded":
        assert results.prefetches.dropped == 0  # so that all three had the same to do


def test_a_bounded_queue_turns_away_what_a_longer_one_takes():
    trace, suggested = two_classes(10, 2_000, 0.5, 0.45)
    dropped = []
    for bound in (1, 3, 1000):
        tier = TierConfig(latency_s=0.0, service_s=1.0, discipline="bounded", prefetch_queue=bound)
        with suggestions({"next-line": suggested}):
            results = replay(trace, tier, objects=5_000, prefetcher="next-line")
        assert results.fetches[PREFETCH] == results.prefetches.issued - results.prefetches.dropped
        dropped.append(results.prefetches.dropped)
    assert dropped[0] > dropped[1] > dropped[2] == 0


@pytest.mark.parametrize("demand", ["open", "closed"])
def test_littles_law_holds_at_every_moment(demand):
    """The number of accesses under way, integrated over time, is the sum of their times in the system so far."""
    rng = np.random.default_rng(5)
    n = 800
    trace = AccessTrace(np.cumsum(rng.exponential(1.0, n)), rng.integers(0, 90, n), np.full(n, 1000))
    tier = TierConfig(latency_s=4.0, service_s=0.5, bandwidth_bytes_per_s=2500.0)
    menu = ("none", "obl:1", "next-line:1")
    config = CacheConfig(objects=40, tier=tier, hit_s=0.25, menu=menu, every_accesses=1, demand=demand, window=3)
    simulator = PrefetchSimulator(config, trace, decide="policy")
    seen = []
    while (point := simulator.advance()) is not None:
        seen.append((point.now_s, simulator.outstanding, simulator.cost_s(point.now_s), simulator.accesses))
        simulator.apply(2)
    results = simulator.results()
    waited = (results.outcome >= 1) & (results.outcome <= 3)
    assert waited.sum() > 200
    for now_s, outstanding, cost_s, accesses in seen:
        arrival_s, finish_s = results.arrival_s[:accesses], results.finish_s[:accesses]
        still = waited[:accesses] & (finish_s > now_s)
        assert outstanding == still.sum()
        spent_s = np.where(waited[:accesses], np.minimum(finish_s, now_s) - arrival_s, config.hit_s)
        assert cost_s == pytest.approx(spent_s.sum(), rel=1e-9, abs=1e-9)
    # The same area, cut along the other axis.
    events = np.concatenate([results.arrival_s[waited], results.finish_s[waited]])
    steps = np.repeat([1, -1], waited.sum())
    order = np.argsort(events, kind="stable")
    area = float(np.sum(np.cumsum(steps[order])[:-1] * np.diff(events[order])))
    assert area == pytest.approx(results.access_s[waited].sum(), rel=1e-9)


def test_a_tier_faster_than_the_accesses_keeps_nobody_waiting():
    n = 200
    trace = AccessTrace(np.arange(n) * 2.0, np.arange(n), np.full(n, 10))
    tier = TierConfig(latency_s=5.0, service_s=1.0, bandwidth_bytes_per_s=10.0)
    results = replay(trace, tier)
    np.testing.assert_array_equal(results.access_s, 7.0)
    assert results.waited_s == (0.0, 0.0, 0.0)
    assert drive(PrefetchSimulator(results.config, trace, decide="policy"), [(0, 0.0)])[-1].outcomes
