"""The default guard as a whole on a small closed-form fleet: sabotage is held, an honest policy decides for itself."""

from __future__ import annotations

import numpy as np
import pytest
from guard_stand import LAYOUT, Fixed, Raising
from toy_fleet import Fleet, LongestDrain, NearlyShortest, RandomReplica, ShortestDrain, run

from handrail.policies.guards import GuardConfig, GuardedPolicy, ReferenceCalibrator, build_guard, reference_curve

JOBS = 20_000
LOAD = 0.8


@pytest.fixture(scope="module")
def config() -> GuardConfig:
    """The routing guard, its reference from a run of the fallback on other arrivals."""
    fleet = Fleet(seed=100, load=LOAD)
    watch = ReferenceCalibrator(ShortestDrain(), LAYOUT, load_field="rate_60s", capacity_per_s=fleet.rate / LOAD)
    run(fleet, watch, JOBS)
    loads, shares = reference_curve(watch.loads, watch.violated)
    return GuardConfig.for_routing(capacity_per_s=fleet.rate / LOAD, loads=loads, shares=shares)


def guarded_by(config: GuardConfig, policy) -> GuardedPolicy:
    return GuardedPolicy(policy, ShortestDrain(), build_guard(config, LAYOUT), LAYOUT)


def p99_s(policy, seed: int) -> float:
    return float(np.quantile(run(Fleet(seed, LOAD), policy, JOBS), 0.99))


@pytest.mark.parametrize(
    "policy",
    [LongestDrain(), RandomReplica(seed=9), Fixed(3), Fixed(float("nan")), Raising(), Fixed(0, latency_s=2.0)],
    ids=["worst", "random", "constant", "nan", "raise", "slow"],
)
def test_sabotage_keeps_the_tail_of_the_fallback(config, policy):
    alone = p99_s(ShortestDrain(), seed=1)
    guarded = guarded_by(config, policy)
    assert p99_s(guarded, seed=1) <= 1.1 * alone
    assert guarded.availability < 0.1


def test_the_sabotage_would_have_done_harm():
    alone = p99_s(ShortestDrain(), seed=1)
    for policy in (LongestDrain(), RandomReplica(seed=9), Fixed(3)):
        assert p99_s(policy, seed=1) >= 1.5 * alone


@pytest.mark.parametrize("seed", [1, 2])
def test_an_honest_policy_makes_its_own_decisions(config, seed):
    guarded = guarded_by(config, NearlyShortest())
    run(Fleet(seed, LOAD), guarded, JOBS)
    assert guarded.availability >= 0.9
    assert guarded.difference > 0.0
    causes = {change.cause for change in guarded.guard.supervisor.transitions}
    assert "violations-over-reference" not in causes
