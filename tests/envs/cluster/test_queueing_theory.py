"""The simulator as queues with known answers: M/M/c, M/G/1, loss systems, and what ordering by size gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from handrail.envs.cluster import FINISHED, REJECTED, ClusterConfig, ClusterResults, ClusterSimulator, Preemption
from handrail.envs.cluster.metrics import jct_s, utilisation, wait_s
from handrail.experiments.statistics.student import student_t_quantile
from handrail.traces import JobTrace

Floats = NDArray[np.float64]

BATCHES = 30


def trace_of(arrival_s: Floats, run_s: Floats) -> JobTrace:
    """Jobs of one processor without estimates."""
    n = len(arrival_s)
    zeros, ones = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    return JobTrace(arrival_s, run_s, np.full(n, np.nan), ones, zeros, 1000 * ones, zeros)


def poisson(seed: int, n: int, rate: float, run_s: Floats) -> JobTrace:
    rng = np.random.default_rng(np.random.SeedSequence([2024, seed]))
    return trace_of(np.cumsum(rng.exponential(1 / rate, n)), run_s)


def exponential(seed: int, n: int) -> Floats:
    return np.random.default_rng(np.random.SeedSequence([2025, seed])).exponential(1.0, n)


def lognormal(seed: int, n: int, sigma: float = 1.0) -> Floats:
    """Of mean 1."""
    return np.random.default_rng(np.random.SeedSequence([2026, seed])).lognormal(-(sigma**2) / 2, sigma, n)


def replay(trace: JobTrace, processors: int, **options: object) -> ClusterResults:
    config = ClusterConfig.parse(**{"processors": processors, "knowledge": "none", **options})
    simulator = ClusterSimulator(config, trace)
    assert simulator.advance() is None
    return simulator.results()


def interval_99(values: Floats) -> tuple[float, float]:
    """Mean and half-width of its 99 % confidence interval by batch means, the first batch left out as warm-up."""
    means = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)[1:]
    t = student_t_quantile(0.995, len(means) - 1)
    return float(means.mean()), t * float(means.std(ddof=1)) / math.sqrt(len(means))


def erlang_b(servers: int, offered: float) -> float:
    """Share of jobs lost where ``servers`` are offered ``offered`` Erlangs and none may wait."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Share of jobs that wait."""
    blocked = erlang_b(servers, offered)
    return blocked / (1 - offered / servers * (1 - blocked))


def fcfs_starts(trace: JobTrace, servers: int) -> Floats:
    """Starts in a first-come-first-served queue (Kiefer and Wolfowitz 1955)."""
    free_s, starts = [0.0] * servers, []
    for arrival, run in zip(trace.arrival_s.tolist(), trace.run_s.tolist(), strict=True):
        server = min(range(servers), key=free_s.__getitem__)
        starts.append(max(arrival, free_s[server]))
        free_s[server] = starts[-1] + run
    return np.array(starts)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 0.8), (16, 0.85)])
def test_mmc_waits_as_erlang_says(servers, load):
    n = 60_000
    trace = poisson(servers, n, load * servers, exponential(servers, n))
    results = replay(trace, servers)
    np.testing.assert_array_equal(results.start_s, fcfs_starts(trace, servers))
    waits = wait_s(results)
    waited = erlang_c(servers, load * servers)
    for values, expected in ((waits, waited / (servers - load * servers)), ((waits > 0).astype(float), waited)):
        mean, half = interval_99(values)
        assert abs(mean - expected) <= half
        assert half <= 0.25 * mean


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_mg1_waits_as_pollaczek_and_khinchine_say(sigma):
    n, load = 60_000, 0.6
    results = replay(poisson(7, n, load, lognormal(7, n, sigma)), 1)
    mean, half = interval_99(wait_s(results))
    assert abs(mean - load * math.exp(sigma**2) / (2 * (1 - load))) <= half
    assert half <= 0.2 * mean


@pytest.mark.parametrize("draw", [exponential, lognormal])
def test_without_a_queue_jobs_are_lost_as_erlang_says(draw):
    """Whatever the distribution of run times."""
    n, servers, offered = 40_000, 5, 4.0
    results = replay(poisson(3, n, offered, draw(3, n)), servers, queueing=False)
    assert set(np.unique(results.status)) == {FINISHED, REJECTED}
    assert (results.start_s == results.arrival_s)[results.status == FINISHED].all()
    mean, half = interval_99((results.status == REJECTED).astype(float))
    assert abs(mean - erlang_b(servers, offered)) <= half
    assert half <= 0.1 * mean


def test_use_is_the_load_and_the_number_in_the_system_is_rate_times_sojourn():
    n, servers, load = 60_000, 8, 0.75
    results = replay(poisson(11, n, load * servers, exponential(11, n)), servers)
    share, allocated = utilisation(results)
    assert share == allocated == pytest.approx(load, rel=0.02)
    usage = results.usage
    busy = float(np.sum(usage.busy_size[:-1] * np.diff(usage.times_s)))
    assert busy == pytest.approx(results.run_s.sum(), rel=1e-9)
    # Little's law; Poisson arrivals see the time average.
    ended = np.searchsorted(np.sort(results.finish_s), results.arrival_s)
    seen = np.arange(n) - ended
    mean, half = interval_99(seen.astype(float))
    rate = n / results.arrival_s[-1]
    assert abs(mean - rate * jct_s(results).mean()) <= half


def test_on_one_machine_srtf_beats_sjf_beats_fcfs():
    n, load = 8_000, 0.8
    trace = poisson(5, n, load / 100, 100 * lognormal(5, n, 1.5))
    means = {
        name: jct_s(
            replay(trace, 1, discipline=name, knowledge="true", preemption=Preemption(quantum_s=5, overhead_s=0))
        ).mean()
        for name in ("srtf", "sjf", "fcfs")
    }
    assert means["srtf"] < 0.8 * means["sjf"] < 0.6 * means["fcfs"]
