"""The simulator as queues with known answers: M/G/1, M/M/c, and their sample paths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from implementations import Route, replay
from numpy.typing import NDArray
from queueing import fcfs_waits, interval_99, lockstep_waits, mmc_wait_s, pollaczek_khinchine_wait_s
from scipy.stats import lognorm

from handrail.envs.llm_serving import (
    FleetConfig,
    LatencyModel,
    ReplicaConfig,
    RouterObserver,
    ServingSimulator,
)
from handrail.traces import RequestTrace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOKEN_S = 1e-4
"""Seconds a prompt token takes in the single-server queues."""


def one_at_a_time() -> ReplicaConfig:
    """A replica that is a single server with service time proportional to the prompt."""
    return ReplicaConfig(
        latency=LatencyModel.proportional(TOKEN_S),
        max_num_seqs=1,
        max_num_batched_tokens=1 << 20,
        kv_capacity_tokens=1 << 20,
        max_model_len=1 << 20,
        async_scheduling=False,
        prefix_caching=False,
    )


def poisson_trace(rng: np.random.Generator, rate: float, prompts: Ints, outputs: Ints) -> RequestTrace:
    arrival_s = np.cumsum(rng.exponential(1 / rate, len(prompts)))
    return RequestTrace(arrival_s=arrival_s, prompt_tokens=prompts, output_tokens=outputs)


def geometric(rng: np.random.Generator, n: int) -> Ints:
    return rng.geometric(1 / 1000, n)


def constant(rng: np.random.Generator, n: int) -> Ints:
    return np.full(n, 1000)


def lognormal(rng: np.random.Generator, n: int) -> Ints:
    return np.maximum(rng.lognormal(np.log(800), 0.7, n).round(), 1).astype(np.int64)


def lognormal_moments() -> tuple[float, float]:
    """First two moments of the rounded lognormal, by summing over the integers."""
    k = np.arange(1, 200_000)
    upper = lognorm.cdf(k + 0.5, 0.7, scale=800)
    lower = np.concatenate([[0.0], upper[:-1]])
    probability = upper - lower
    return float((k * probability).sum()), float((k.astype(float) ** 2 * probability).sum())


MOMENTS = {
    "geometric": (1000.0, (2 - 1 / 1000) * 1000.0**2),
    "constant": (1000.0, 1000.0**2),
    "lognormal": lognormal_moments(),
}
PROMPTS: dict[str, Callable[[np.random.Generator, int], Ints]] = {
    "geometric": geometric,
    "constant": constant,
    "lognormal": lognormal,
}


def single_server_waits(kind: str, replications: int, n: int, warm_up: int) -> tuple[list[float], float]:
    """Mean waits of each replication, checked wait by wait against Lindley's recursion, and the closed form."""
    mean, square = MOMENTS[kind]
    rate = 0.5 / (mean * TOKEN_S)
    means = []
    for seed in np.random.SeedSequence(20_240_101).spawn(replications):
        rng = np.random.default_rng(seed)
        trace = poisson_trace(rng, rate, PROMPTS[kind](rng, n), np.ones(n, dtype=np.int64))
        results = replay(FleetConfig(replicas=(one_at_a_time(),)), trace)
        waits = results.scheduled_s - results.arrival_s
        expected = fcfs_waits(trace.arrival_s, trace.prompt_tokens * TOKEN_S, 1)
        np.testing.assert_allclose(waits, expected, rtol=0, atol=1e-9 * results.end_s)
        means.append(float(waits[warm_up:].mean()))
    return means, pollaczek_khinchine_wait_s(rate, mean * TOKEN_S, square * TOKEN_S**2)


@pytest.mark.parametrize("kind", sorted(PROMPTS))
def test_mg1_waits_as_pollaczek_and_khinchine_say(kind):
    means, expected_s = single_server_waits(kind, replications=20, n=4_000, warm_up=100)
    mean_s, half_s = interval_99(means)
    assert abs(mean_s - expected_s) <= half_s
    assert half_s <= 0.09 * mean_s


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(PROMPTS))
def test_mg1_waits_within_three_percent(kind):
    means, expected_s = single_server_waits(kind, replications=40, n=20_000, warm_up=200)
    mean_s, half_s = interval_99(means)
    assert abs(mean_s - expected_s) <= half_s
    assert half_s <= 0.03 * mean_s


def shortest_drain(simulator: ServingSimulator) -> Route:
    """To the replica that will have done all its work first, by the router's own estimate."""
    observer = RouterObserver(simulator)
    return lambda point: int(np.argmin(observer.layout.replica(observer(point), "drain_s")))


@pytest.mark.parametrize("servers", [2, 3, 5])
def test_shortest_drain_over_single_servers_is_a_central_queue(servers):
    rng = np.random.default_rng(servers)
    n = 4_000
    trace = poisson_trace(rng, 0.85 * servers / (1000 * TOKEN_S), geometric(rng, n), np.ones(n, dtype=np.int64))
    config = FleetConfig(replicas=(one_at_a_time(),) * servers, telemetry_delay_s=0.0, output_estimate="oracle")
    results = replay(config, trace, router=shortest_drain)
    waits = results.scheduled_s - results.arrival_s
    expected = fcfs_waits(trace.arrival_s, trace.prompt_tokens * TOKEN_S, servers)
    assert (expected > 0).mean() > 0.3
    # The observation is float32: drains closer than its rounding may be taken for each other.
    np.testing.assert_allclose(waits, expected, rtol=0, atol=1e-6)
    turns = replay(config, trace)
    assert np.mean(turns.scheduled_s - turns.arrival_s) > 1.2 * expected.mean()


def slots(servers: int, step_s: float) -> ReplicaConfig:
    """A replica whose every step takes the same time, whatever it computes: ``servers`` slots in lock step."""
    return ReplicaConfig(
        latency=LatencyModel.constant(step_s),
        max_num_seqs=servers,
        max_num_batched_tokens=1 << 20,
        kv_capacity_tokens=1 << 24,
        max_model_len=1 << 20,
        async_scheduling=False,
        prefix_caching=False,
    )


STEP_S = 0.01


def slot_waits(servers: int, load: float, replications: int, n: int) -> tuple[list[float], float]:
    """Mean waits for a slot with geometric outputs, checked wait by wait, and the M/M/c formula's mean.

    A thousand steps a request: a geometric length is nearly exponential, and the wait for a boundary is no wait.
    """
    mean_s = 1000 * STEP_S
    rate = load * servers / mean_s
    means = []
    for seed in np.random.SeedSequence(20_240_102).spawn(replications):
        rng = np.random.default_rng(seed)
        trace = poisson_trace(rng, rate, np.ones(n, dtype=np.int64), geometric(rng, n))
        results = replay(FleetConfig(replicas=(slots(servers, STEP_S),)), trace)
        waits = results.scheduled_s - results.arrival_s
        expected = lockstep_waits(trace.arrival_s, trace.output_tokens, servers, STEP_S)
        np.testing.assert_allclose(waits, expected, rtol=0, atol=1e-9 * results.end_s)
        means.append(float(waits[n // 40 :].mean()))
    return means, mmc_wait_s(servers, rate, mean_s)


def check_slots(servers: int, load: float, n: int) -> None:
    means, expected_s = slot_waits(servers, load, replications=60, n=n)
    mean_s, half_s = interval_99(means)
    assert abs(mean_s - expected_s) <= half_s
    assert half_s <= 0.03 * mean_s


def test_slots_of_one_replica_are_an_mmc_queue():
    check_slots(servers=2, load=0.5, n=20_000)


@pytest.mark.slow
def test_slots_are_an_mmc_queue_at_a_higher_load():
    check_slots(servers=4, load=0.7, n=45_000)
