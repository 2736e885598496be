"""A prefetching problem with a known answer: of two tenants one reads in sequence, and the other one at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, TierConfig, layout_for
from handrail.envs.prefetch.observer import PrefetchObserver
from handrail.policies.learning.arm_features import arm_search
from handrail.policies.learning.features import ScorerSearch
from handrail.policies.network import Mlp, ReplicaScorer
from handrail.traces import AccessTrace

SEQUENTIAL, RANDOM = 0, 1
OFF = 0
CACHE = CacheConfig(
    objects=400,
    hit_s=1e-6,
    tier=TierConfig(latency_s=2e-3, service_s=0.6e-3, bandwidth_bytes_per_s=1e12),
    prefetcher="none",
    controller="fixed",
    menu=("none", "next-line:1", "next-line:8"),
    per_tenant=True,
    every_accesses=32,
)
PACED = CACHE.model_copy(update={"demand": "paced", "window": 4})
"""Where prefetches for the wrong tenant cost less: one that waits asks for less."""

LAYOUT = layout_for(len(CACHE.menu))

Choose = Callable[[int, np.ndarray], int]


def two_tenants(n: int, seed: int) -> AccessTrace:
    """Half of the accesses follow each other's ids, a new run every 200; the others go anywhere."""
    rng = np.random.default_rng(seed)
    tenant = rng.integers(0, 2, n)
    key = rng.integers(0, 10**6, n) + 10**7
    steps = np.arange(int((tenant == SEQUENTIAL).sum()))
    key[tenant == SEQUENTIAL] = steps % 200 + rng.integers(0, 10**4, len(steps) // 200 + 1)[steps // 200] * 200
    return AccessTrace(
        arrival_s=np.cumsum(rng.exponential(1e-3, n)),
        key=key,
        size_bytes=np.full(n, 4096),
        tenant=tenant,
        tenant_names=("sequential", "random"),
        name="two tenants",
    )


def replayed(trace: AccessTrace, choose: Choose, config: CacheConfig = CACHE) -> tuple[float, np.ndarray]:
    """Mean access latency in seconds, and how often each arm was chosen for each tenant, shape (2, arms)."""
    simulator = PrefetchSimulator(config, trace, decide="policy")
    observer = PrefetchObserver(simulator)
    chosen = np.zeros((2, len(CACHE.menu)), dtype=int)
    point = simulator.advance()
    while point is not None:
        arm = choose(point.tenant, observer(point))
        chosen[point.tenant, arm] += 1
        simulator.apply(arm)
        point = simulator.advance()
    return float(simulator.results().access_s.mean()), chosen


def observations(trace: AccessTrace) -> list[np.ndarray]:
    """What is seen on a trace while nothing is prefetched, and while it is for the tenant that gains by it."""
    seen: list[np.ndarray] = []

    def choose(tenant: int, observation: np.ndarray, arm: int) -> int:
        seen.append(observation)
        return arm if tenant == SEQUENTIAL else OFF

    for arm in range(len(CACHE.menu)):
        replayed(trace, partial(choose, arm=arm))
    return seen


def toy_search(trace: AccessTrace, hidden: tuple[int, ...] = ()) -> ScorerSearch:
    """Features and normalisation, without the start's knowledge: all weights are 0."""
    search = arm_search(LAYOUT, observations(trace), hidden)
    return replace(search, start=np.zeros_like(search.start))


def assert_solved(network: ReplicaScorer | Mlp, trace: AccessTrace, config: CacheConfig = CACHE) -> None:
    """The first tenant is prefetched for and the second is not, and that beats every fixed arm."""
    latency_s, chosen = replayed(trace, lambda tenant, seen: network.act(seen), config)
    share = chosen / chosen.sum(axis=1, keepdims=True)
    assert share[SEQUENTIAL, OFF] < 0.15
    assert share[RANDOM, OFF] > 0.9
    fixed_s = [replayed(trace, lambda tenant, seen, arm=arm: arm, config)[0] for arm in range(len(CACHE.menu))]
    assert latency_s < 0.95 * min(fixed_s)
