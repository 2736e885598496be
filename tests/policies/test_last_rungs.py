"""The last rung of each domain: whatever is measured may be gone, and it decides as before."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_cluster import LAYOUT, WAIT, job, queue, random_queue
from synthetic_observations import random_observation
from synthetic_prefetch import MENU, random_arms

from handrail.envs.cluster import ClusterConfig, layout_for
from handrail.envs.cluster.layout import TELEMETRY_FIELDS as CLUSTER_TELEMETRY
from handrail.envs.common import Layout
from handrail.envs.llm_serving import TELEMETRY_FIELDS as LLM_TELEMETRY
from handrail.envs.llm_serving import FleetConfig
from handrail.envs.prefetch import TELEMETRY_FIELDS as PREFETCH_TELEMETRY
from handrail.envs.prefetch import CacheConfig
from handrail.experiments.domains import domain_of
from handrail.policies.guards import OverdueRule
from handrail.policies.heuristics.cluster import BlindFirstComeFirstServed

Observation = NDArray[np.float32]

CASES: dict[str, tuple[Any, Collection[str], Callable[[Layout, np.random.Generator], Observation]]] = {
    "llm": (FleetConfig.parse("h100:5"), LLM_TELEMETRY, random_observation),
    "cluster": (ClusterConfig(processors=16, window=6), CLUSTER_TELEMETRY, random_queue),
    "prefetch": (
        CacheConfig(objects=100, menu=MENU),
        PREFETCH_TELEMETRY,
        lambda layout, rng: random_arms(rng, layout),
    ),
}


def spoiled(layout: Layout, observation: Observation, fields: Collection[str], value: Callable[[int], Any]) -> Any:
    """A copy in which these fields have other values."""
    out = observation.copy()
    matrix = layout.replica_matrix(out)
    for column, field in enumerate(layout.replica_fields):
        if field.name in fields:
            matrix[:, column] = value(layout.n_replicas)
    for place, field in enumerate(layout.global_fields):
        if field.name in fields:
            layout.globals(out)[place] = value(1).item()
    return out


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["zero", "nan", "random", "inf"])
def test_no_telemetry_at_all_changes_no_choice_and_every_choice_is_legal(name: str, how: str):
    system, fields, draw = CASES[name]
    domain = domain_of(system)
    layout = domain.layout(system)
    clean, blind = domain.make_last_rung(system), domain.make_last_rung(system)
    rng = np.random.default_rng(np.random.SeedSequence(8))
    value = {
        "zero": np.zeros,
        "nan": lambda n: np.full(n, np.nan),
        "inf": lambda n: np.full(n, np.inf),
        "random": lambda n: rng.normal(0.0, 1e4, n),
    }[how]
    changed = 0
    for _ in range(300):
        observation = draw(layout, rng)
        corrupt = spoiled(layout, observation, fields, value)
        changed += not np.array_equal(observation, corrupt)
        action, _ = blind.predict(corrupt)
        assert action == clean.predict(observation)[0]
        up = layout.replica(observation, "up")
        assert up[action] == 1.0 or not up.any()
    assert changed > 290  # the few are queues without a job


def test_ties_in_the_routers_own_counts_are_legal_too():
    system, fields, draw = CASES["llm"]
    layout = domain_of(system).layout(system)
    rung = domain_of(system).make_last_rung(system)
    observation = draw(layout, np.random.default_rng(0))
    layout.replica(observation, "inflight")[:] = 3.0
    layout.replica(observation, "up")[:] = (0, 0, 1, 0, 1)
    assert rung.predict(spoiled(layout, observation, fields, lambda n: np.full(n, np.nan)))[0] == 2


def rung(layout: Layout = LAYOUT, **options: Any) -> BlindFirstComeFirstServed:
    return BlindFirstComeFirstServed(layout, **options)


def test_the_longest_wait_goes_first_and_nobody_passes_it():
    assert rung().choose(queue(job(wait_s=1), job(wait_s=3), job(wait_s=2))) == 1
    assert rung().choose(queue(job(wait_s=1), job(wait_s=3, fits=0), job(wait_s=2))) == WAIT
    assert rung().choose(queue(job(wait_s=1), job(wait_s=3, fits=0), job(wait_s=2), may_wait=False)) == 2
    assert rung().choose(queue()) == WAIT
    assert rung().choose(queue(job(wait_s=0), job(wait_s=0))) == 0  # all have just come


def test_overdue_jobs_first():
    late = {"overdue": 1.0, "wait_s": 9.0}
    assert rung().choose(queue(job(wait_s=10), job(**late))) == 1  # its turn, though one has waited longer
    passes = job(**late, overdue_passed=600.0)
    assert rung(overdue_passes=500).choose(queue(job(fits=0, wait_s=9.5), passes, job(wait_s=1))) == WAIT
    # Longest by rounding alone: the other overdue job stands before it.
    assert rung().choose(queue(job(**late, fits=0), passes)) == WAIT
    allowed = job(wait_s=1, overdue_passed=3.0)
    assert rung().choose(queue(job(fits=0, wait_s=20), passes, allowed, may_wait=False)) == 2


def test_it_keeps_the_overdue_rule_wherever_it_may_wait():
    rng = np.random.default_rng(3)
    layout = layout_for(7)
    rule = OverdueRule(layout, 20)
    policies = [rung(layout, overdue_passes=20), rung(layout, seed=1, tie_seed=2, overdue_passes=20)]
    kept = 0
    for _ in range(500):
        observation = random_queue(layout, rng)
        up = layout.replica(observation, "up")
        for policy in policies:
            action = policy.choose(observation)
            assert up[action] == 1.0 or not up[:-1].any()
            if up[-1]:
                kept += 1
                assert rule.permits(observation, action)
    assert kept > 500
