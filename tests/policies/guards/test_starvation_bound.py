"""The bound that is proved, searched for violations on the simulator by a referee that keeps its own account."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_stand import LegalLots, batch, fallback, guarded, jobs_of, replay
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.envs.cluster import ClusterConfig, Faults, MachineGroup, MachineOutage
from handrail.policies import heuristics_of, make_sabotage
from handrail.policies.guards import ContractConfig, GuardConfig, StarvationConfig, SupervisorConfig
from handrail.traces import JobTrace

PATIENT = SupervisorConfig(faults_in_a_row=10**6, veto_window_decisions=10**6, veto_share_limit=1.0, probe_outcomes=0)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[ClusterConfig, JobTrace]:
    """A crowded little cluster: short limits, few passes, quotas or failing machines in some."""
    seed = draw(st.integers(0, 2**32 - 1), label="trace seed")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    n = draw(st.integers(5, 60), label="jobs")
    run_s = rng.integers(1, 200, n).astype(float)
    kind = draw(st.sampled_from(["processors", "quotas", "machines"]), label="cluster")
    trace = jobs_of(
        np.cumsum(rng.integers(0, 20, n)).astype(float),
        run_s,
        rng.integers(1, 9, n) if kind != "machines" else rng.integers(1, 5, n),
        run_s * rng.uniform(0.3, 3.0, n),
        rng.integers(0, 2, n),
    )
    common = {
        "discipline": draw(st.sampled_from(["fcfs", "sjf", "saf", "wfp3"]), label="standing order"),
        "wait_limit_s": draw(st.sampled_from([0.0, 30.0, 120.0]), label="wait limit"),
        "overdue_passes": draw(st.integers(0, 5), label="passes"),
        "window": draw(st.integers(1, 12), label="window"),
    }
    if kind == "machines":
        group = MachineGroup(machines=4, gpus=0, cpu_milli=2000)
        outages = tuple(
            MachineOutage(machine=int(m), start_s=float(s), end_s=float(s + 90))
            for m, s in zip(rng.integers(0, 4, 3), rng.integers(0, 400, 3), strict=True)
        )
        return ClusterConfig(groups=(group,), faults=Faults(outages=outages), **common), trace
    quotas = {"a": float(rng.integers(8, 13)), "b": 8.0} if kind == "quotas" else None
    return ClusterConfig(processors=12 if quotas else 8, quotas=quotas, **common), trace


def bound(config: ClusterConfig) -> GuardConfig:
    """The starvation check alone (with the contract), and a supervisor that never takes the rule away."""
    checks = (ContractConfig(latency_budget_s=1.0), StarvationConfig(overdue_passes=config.overdue_passes))
    return GuardConfig(checks=checks, supervisor=PATIENT)


@settings(deadline=None, max_examples=150)
@given(clusters(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 1.0]))
def test_no_overdue_job_is_passed_more_often_than_allowed_behind_the_check(made, seed, wait_share):
    config, trace = made
    run = replay(config, trace, guarded(lambda layout: LegalLots(layout, seed, wait_share), bound(config), config))
    assert run.referee is not None
    assert run.referee.most <= config.overdue_passes
    assert run.referee.out_of_turn == 0
    assert np.isfinite(run.simulator.results().finish_s).all()


@settings(deadline=None, max_examples=60)
@given(clusters(), st.sampled_from(sorted(heuristics_of("cluster"))))
def test_every_heuristic_keeps_the_bound_by_itself(made, name):
    config, trace = made
    run = replay(config, trace, lambda layout: fallback(layout, config, name))
    assert run.referee is not None
    assert run.referee.most <= config.overdue_passes
    assert run.referee.out_of_turn == 0
    assert np.isfinite(run.simulator.results().finish_s).all()


@settings(deadline=None, max_examples=40)
@given(clusters(), st.integers(0, 2**32 - 1))
def test_the_whole_guard_keeps_it_with_decisions_that_take_time(made, seed):
    config, trace = made
    if config.faults.outages:
        config = config.model_copy(update={"faults": Faults()})  # else a start may be dropped and counted twice
    guard = GuardConfig.for_scheduling(overdue_passes=config.overdue_passes)

    def hasty(layout):
        policy = LegalLots(layout, seed)
        policy.latency_s = 0.75  # type: ignore[attr-defined]
        return policy

    run = replay(config, trace, guarded(hasty, guard, config))
    assert run.referee is not None
    assert run.referee.most <= config.overdue_passes
    assert run.referee.out_of_turn == 0


@pytest.mark.parametrize("kind", ["worst", "random"])
def test_without_the_check_the_bound_would_be_broken(kind):
    config = ClusterConfig(processors=64, discipline="sjf", wait_limit_s=3600.0, overdue_passes=5)
    run = replay(config, batch(600, seed=1), lambda layout: make_sabotage(kind, layout, domain="cluster"))
    assert run.referee is not None
    assert run.referee.most > config.overdue_passes
    assert run.referee.out_of_turn > 0


@settings(deadline=None, max_examples=60)
@given(clusters(), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_policy_that_waits_cannot_stall(made, seed, wait_share):
    config, trace = made
    guard = GuardConfig.for_scheduling(overdue_passes=config.overdue_passes).only("contract", "idling")
    strict = tuple(c.model_copy(update={"small_share": 0.0}) if c.check == "idling" else c for c in guard.checks)
    guard = guard.model_copy(update={"checks": strict, "supervisor": PATIENT})
    decided = []

    def policy(layout):
        decided.append(guarded(lambda inner: LegalLots(inner, seed, wait_share), guard, config)(layout))
        return decided[0]

    run = replay(config, trace, policy)
    idle = in_a_row = 0
    recorder = decided[0].recorder
    wait = config.window
    for action, would in zip(recorder.column("executed"), recorder.column("fallback"), strict=True):
        in_a_row = 0 if action != wait else in_a_row + (would != wait)
        idle = max(idle, in_a_row)
    assert idle <= 8
    assert np.isfinite(run.simulator.results().finish_s).all()
