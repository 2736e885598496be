"""The default guard of scheduling as a whole, on small clusters: sabotage is held, an honest policy decides."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_stand import SLOWDOWN_LIMIT, GuardConfig, NeverStarts, Run, batch, fallback, guarded, jobs_of, replay

from handrail.envs.cluster import ClusterConfig, Faults, MachineGroup, MachineOutage
from handrail.policies import SABOTAGES, make_sabotage
from handrail.policies.guards import ReferenceCalibrator, reference_curve

CONFIG = ClusterConfig(processors=64, discipline="sjf", wait_limit_s=12 * 3600.0, window=16)
SEEDS = (1, 2, 3)
JOBS = 1500


def p99(runs: list[Run]) -> float:
    """p99 of the bounded slowdown, pooled."""
    columns = [run.simulator.results() for run in runs]
    slowdowns = [np.maximum((r.finish_s - r.arrival_s) / np.maximum(r.run_s, 10.0), 1.0) for r in columns]
    return float(np.quantile(np.concatenate(slowdowns), 0.99))


@pytest.fixture(scope="module")
def alone() -> list[Run]:
    return [replay(CONFIG, batch(JOBS, seed), lambda layout: fallback(layout, CONFIG)) for seed in SEEDS]


@pytest.fixture(scope="module")
def guard() -> GuardConfig:
    """The scheduling guard, its reference from runs of the fallback on other arrivals."""
    watches = []

    def watch(layout):
        watches.append(ReferenceCalibrator(fallback(layout, CONFIG), layout, load_field="load_6h", capacity_per_s=1.0))
        return watches[-1]

    for seed in (11, 12):
        replay(CONFIG, batch(JOBS, seed), watch)
    loads, shares = reference_curve(
        np.concatenate([w.loads for w in watches]), np.concatenate([w.violated for w in watches])
    )
    return GuardConfig.for_scheduling(loads=loads, shares=shares)


def broken(kind: str):
    """A policy that is broken in that way, or starts nothing."""
    return NeverStarts if kind == "never" else lambda layout: make_sabotage(kind, layout, domain="cluster")


@pytest.mark.parametrize("kind", [*SABOTAGES, "never"])
def test_sabotage_keeps_the_tail_of_the_fallback(kind, alone, guard):
    deciders = []

    def decider(layout):
        deciders.append(guarded(broken(kind), guard, CONFIG)(layout))
        return deciders[-1]

    runs = [replay(CONFIG, batch(JOBS, seed), decider) for seed in SEEDS]
    assert p99(runs) <= 1.15 * p99(alone)
    if kind in ("constant", "nan", "slow", "raise"):
        assert max(d.availability for d in deciders) < 0.3
        assert sum(d.guard.supervisor.transitions[0].decision for d in deciders) <= 310  # `raise` is healthy for 100


@pytest.mark.parametrize("kind", ["worst", "random"])
def test_the_sabotage_would_have_done_harm(kind, alone):
    runs = [replay(CONFIG, batch(JOBS, seed), broken(kind)) for seed in SEEDS]
    assert p99(runs) >= 1.5 * p99(alone)


def test_an_honest_policy_makes_its_own_decisions(alone, guard):
    deciders = []

    def decider(layout):
        deciders.append(guarded(lambda inner: fallback(inner, CONFIG, "saf"), guard, CONFIG)(layout))
        return deciders[-1]

    runs = [replay(CONFIG, batch(JOBS, seed), decider) for seed in SEEDS]
    assert np.mean([d.availability for d in deciders]) >= 0.85
    assert min(d.difference for d in deciders) > 0.02
    assert p99(runs) <= 1.15 * p99(alone)


def test_machines_that_fail_are_not_blamed_on_anybody_and_nothing_is_lost(guard):
    rng = np.random.default_rng(3)
    run_s = rng.uniform(30.0, 900.0, 400)
    trace = jobs_of(np.cumsum(rng.exponential(40.0, 400)), run_s, 2 ** rng.integers(0, 3, 400), run_s * 1.5)
    outages = tuple(MachineOutage(machine=m, start_s=4000.0, end_s=9000.0) for m in range(3))
    config = ClusterConfig(
        groups=(MachineGroup(machines=8, gpus=0, cpu_milli=4000),),
        discipline="sjf",
        wait_limit_s=7200.0,
        faults=Faults(outages=outages),
    )
    base = replay(config, trace, lambda layout: fallback(layout, config))
    held = replay(config, trace, guarded(broken("worst"), guard, config))
    for run in (base, held):
        assert (run.simulator.results().status == 0).all()
        assert run.referee is not None
        assert run.referee.most <= config.overdue_passes
    assert p99([held]) <= 1.5 * max(p99([base]), SLOWDOWN_LIMIT / 10)
