"""The ghost-cache budget's bound on the simulator itself, against a ghost of the test's own, access by access."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from timeless_cache import PATIENT, access

from handrail.envs.prefetch import MISS, CacheConfig, PrefetchSimulator
from handrail.envs.prefetch.eviction import make_eviction
from handrail.envs.prefetch.observer import PrefetchObserver
from handrail.envs.prefetch.prefetchers import make_prefetcher
from handrail.policies import make_heuristic, make_sabotage
from handrail.policies.guards import BudgetConfig, GuardConfig, GuardedPolicy, build_guard
from handrail.policies.interface import Feedback, OutcomeSignal
from handrail.traces import AccessTrace

MENU = ("none", "next-line:1", "next-line:16", "obl:4", "stride:4", "markov:2")


@st.composite
def demands(draw: st.DrawFn) -> AccessTrace:
    """Loops, scans and lots over few ids, of one or two tenants: much to reuse, and much to push out."""
    n = draw(st.integers(50, 600), label="accesses")
    rng = np.random.default_rng(np.random.SeedSequence(draw(st.integers(0, 2**32 - 1), label="seed")))
    n_ids = draw(st.integers(3, 40), label="ids")
    pieces = []
    while sum(map(len, pieces)) < n:
        length, start = int(rng.integers(5, 80)), int(rng.integers(n_ids))
        match rng.integers(3):
            case 0:
                pieces.append((start + np.arange(length)) % n_ids)
            case 1:
                pieces.append((start + rng.integers(2, 5) * np.arange(length)) % n_ids)
            case _:
                pieces.append(rng.integers(0, n_ids, length))
    key = np.concatenate(pieces)[:n].astype(np.int64)
    tenant = rng.integers(0, 2, n) if draw(st.booleans(), label="two tenants") else None
    return AccessTrace(
        arrival_s=np.arange(n, dtype=float),
        key=key if tenant is None else key + 1000 * tenant,
        size_bytes=np.full(n, 4096),
        tenant=tenant,
        tenant_names=() if tenant is None else ("a", "b"),
        is_write=(rng.random(n) < 0.2) if draw(st.booleans(), label="writes") else None,
        backing=draw(st.sampled_from(["all", "seen"]), label="backing"),
    )


def ghost_counts(trace: AccessTrace, config: CacheConfig, touches: bool) -> np.ndarray:
    """Misses so far after each access of a cache under the standing prefetcher alone, shape (n,)."""
    cache = make_eviction("lru", config.capacity)
    named = config.prefetcher != "none"
    prefetchers = [make_prefetcher(config.prefetcher, config.degree) for _ in range(trace.n_tenants if named else 0)]
    tenants = np.zeros(len(trace), dtype=int) if trace.tenant is None else trace.tenant
    known: set[int] = set()
    missed = []
    for key, tenant in zip(trace.key.tolist(), tenants.tolist(), strict=True):
        known.add(key)
        ahead = prefetchers[tenant].access(key, False) if named else ()
        missed.append(access(cache, key, [i for i in ahead if trace.backing == "all" or i in known], touches))
    return np.cumsum(missed)


def replay(trace: AccessTrace, config: CacheConfig, make: Any, budget: BudgetConfig) -> tuple[np.ndarray, Any, int]:
    """Misses so far after each access behind the budget, the guarded policy, and the simulator's own ghost's misses."""
    simulator = PrefetchSimulator(config, trace, decide="policy")
    observe = PrefetchObserver(simulator)
    layout = observe.layout
    fallback = make_heuristic("standing", layout, domain="prefetch", arms=config.menu)
    guard = build_guard(GuardConfig(checks=(budget,), supervisor=PATIENT), layout)
    policy = GuardedPolicy(make(layout), fallback, guard, layout)
    state = None
    while (point := simulator.advance()) is not None:
        policy.notify(
            Feedback(
                point.now_s,
                point.decision,
                point.action_mask,
                tuple(OutcomeSignal(o.decision, False, o.access_s) for o in point.outcomes),
            )
        )
        action, state = policy.predict(observe(point), state)
        simulator.apply(action, policy.latency_s)
    return np.cumsum(simulator.results().outcome == MISS), policy, simulator.ghost_misses


SELECTORS = ["random", "worst", "constant", "next-line:16", "none"]


def selector(name: str, seed: int) -> Any:
    if name in ("random", "worst", "constant"):
        return lambda layout: make_sabotage(name, layout, seed, "prefetch", arms=MENU)
    return lambda layout: make_heuristic(name, layout, seed, domain="prefetch", arms=MENU)


SCHEMES: list[dict[str, Any]] = [
    {"prefetcher": "none"},
    {"prefetcher": "next-line", "degree": 1, "prefetch_touches": True},
    {"prefetcher": "obl", "degree": 4, "prefetch_touches": True},
    {"prefetcher": "stride", "degree": 4, "prefetch_touches": True},
    {"prefetcher": "markov", "degree": 2, "prefetch_touches": True},
]
"""Standing schemes under which a takeover costs at most one cache."""


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["prefetcher"])
@settings(deadline=None, max_examples=40)
@given(
    trace=demands(),
    name=st.sampled_from(SELECTORS),
    seed=st.integers(0, 99),
    capacity=st.integers(1, 24),
    every=st.integers(1, 20),
    per_tenant=st.booleans(),
    budget=st.builds(
        BudgetConfig,
        excess_share=st.sampled_from([0.0, 0.05, 0.5]),
        budget_caches=st.sampled_from([0.0, 1.0, 1.5, 3.0]),
    ),
)
def test_the_bound_holds_at_every_access_of_the_simulator(
    scheme, trace, name, seed, capacity, every, per_tenant, budget
):
    config = CacheConfig.parse(
        objects=capacity,
        demand="timeless",
        ghost=True,
        controller="fixed",
        menu=MENU,
        every_accesses=every,
        per_tenant=per_tenant,
        **scheme,
    )
    misses, policy, ghost_misses = replay(trace, config, selector(name, seed), budget)
    ghost = ghost_counts(trace, config, touches=scheme["prefetcher"] != "none")
    assert ghost_misses == ghost[-1]
    slack = (1.0 + budget.excess_share) * ghost + budget.budget_caches * capacity - misses
    target(-float(slack.min()), label="closest to the bound")
    assert slack.min() >= -1e-6
    assert set(policy.interventions) <= {"budget-spent"}


def test_a_policy_that_does_harm_rules_until_the_reserve_is_reached():
    n = 4000
    trace = AccessTrace(arrival_s=np.arange(n, dtype=float), key=np.arange(n) * 100 % 2000, size_bytes=np.full(n, 4096))
    config = CacheConfig.parse(
        objects=20, demand="timeless", ghost=True, prefetcher="none", controller="fixed", menu=MENU, every_accesses=8
    )
    budget = BudgetConfig(excess_share=0.05, budget_caches=5.0)
    misses, policy, ghost_misses = replay(trace, config, selector("next-line:16", 0), budget)
    assert ghost_misses == 20  # the loop fits
    assert 0 < policy.availability < 0.1
    assert policy.interventions.keys() == {"budget-spent"}
    alone, _, _ = replay(trace, config, selector("next-line:16", 0), BudgetConfig(budget_caches=1000.0))
    assert alone[-1] > 10 * misses[-1]
    assert misses[-1] <= 1.05 * 20 + 5 * 20


def test_where_suggestions_that_are_there_are_left_the_fallback_may_never_recover():
    """Next-line of degree 2 under LRU of 4: withheld for two accesses, it costs a miss at every other one for ever."""
    key = np.array([1, 1, *[2, 0] * 300])
    trace = AccessTrace(arrival_s=np.arange(len(key), dtype=float), key=key, size_bytes=np.full(len(key), 4096))
    menu = ("none", "next-line:2")
    config = CacheConfig.parse(
        objects=4,
        demand="timeless",
        ghost=True,
        prefetcher="next-line",
        degree=2,
        controller="fixed",
        menu=menu,
        every_accesses=2,
    )

    class OffOnce:
        def __init__(self) -> None:
            self.decisions = 0

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            self.decisions += 1
            return int(self.decisions > 1), state

    budget = BudgetConfig(excess_share=0.05, budget_caches=1.5)
    misses, _, ghost_misses = replay(trace, config, lambda layout: OffOnce(), budget)
    assert ghost_misses == ghost_counts(trace, config, touches=False)[-1] == 2
    assert misses[-1] > 300  # the bound says 1.05 x 2 + 6
