"""What each rule promises, and a search for cases in which it does not keep the promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from cluster_audit import audited
from cluster_workloads import Pick, config_of, draw_jobs, draw_rules, seeded, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cluster_invariants import draw_cluster, draw_trace

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, Faults, MachineGroup
from handrail.traces import JobTrace


@st.composite
def picks(draw) -> Pick:
    """Hypothesis as a source of whole numbers."""
    return lambda low, high: draw(st.integers(low, high))


def head_promises(simulator: ClusterSimulator) -> dict[int, float]:
    """First promised start of each job that stood first and did not fit, by row; filled while the simulator runs."""
    state, promises = simulator.state, {}
    reserve = simulator.pool.reserve

    def noting(demand, now_s, releases):
        reservation = reserve(demand, now_s, releases)
        head = state.waiting.first(now_s)
        assert state.jobs.demands[head] == demand
        promises.setdefault(head, reservation.at_s)
        return reservation

    audited(simulator).reserve = noting
    return promises


def assert_easy_keeps_its_word(config: ClusterConfig, trace: JobTrace) -> int:
    """No head starts after its first reservation; how many jobs had one that was finite."""
    simulator = ClusterSimulator(config, trace)
    promises = head_promises(simulator)
    assert simulator.advance() is None
    start_s = simulator.results().start_s
    for row, at_s in promises.items():
        assert start_s[row] <= at_s, (row, start_s[row], at_s)
    return sum(at_s < inf for at_s in promises.values())


def easy(config: ClusterConfig) -> ClusterConfig:
    """The same cluster under the conditions of the promise: first come first served, killed at the limit, no faults."""
    changes = {
        "discipline": "fcfs", "backfill": "easy", "knowledge": "user_estimate", "kill_at_limit": True, "quotas": None,
        "wait_limit_s": None, "queueing": True, "faults": Faults(straggler_probability=0.3),
    }  # fmt: skip
    return config.model_copy(update=changes)


@settings(max_examples=200, deadline=None)
@given(pick=picks())
def test_easy_never_delays_the_heads_reservation_on_processors(pick):
    setup = draw_rules(pick)
    jobs = draw_jobs(pick, 20, setup.machines[0], unit_s=(1.0, 0.1)[pick(0, 1)])
    assert_easy_keeps_its_word(easy(config_of(setup)), trace_of(jobs))


@settings(max_examples=200, deadline=None)
@given(pick=picks())
def test_easy_never_delays_the_heads_reservation_on_machines(pick):
    config = easy(draw_cluster(pick))
    assert_easy_keeps_its_word(config, draw_trace(pick, config, 20))


def test_the_search_meets_reservations():
    kept = 0
    for seed in range(120):
        pick = seeded(seed)
        config = easy(draw_cluster(pick))
        kept += assert_easy_keeps_its_word(config, draw_trace(pick, config, 40))
    assert kept > 300


def test_without_the_kill_a_job_that_outruns_its_estimate_breaks_the_promise():
    """So the search above could find a violation."""
    late = 0
    for seed in range(60):
        pick = seeded(seed)
        setup = draw_rules(pick)
        config = easy(config_of(setup)).model_copy(update={"kill_at_limit": False})
        try:
            assert_easy_keeps_its_word(config, trace_of(draw_jobs(pick, 30, setup.machines[0])))
        except AssertionError:
            late += 1
    assert late > 5


@settings(max_examples=200, deadline=None)
@given(pick=picks())
def test_conservative_backfilling_starts_no_job_after_its_first_promise(pick):
    setup = replace(draw_rules(pick), backfill="conservative", kill_at_limit=True, wait_limit_s=None, quotas=None)
    setup = replace(setup, knowledge="user_estimate")
    trace = trace_of(draw_jobs(pick, 16, setup.machines[0], unit_s=(1.0, 0.1)[pick(0, 1)]))
    simulator = ClusterSimulator(config_of(setup), trace)
    run_pass, promises = simulator._pass, {}

    def noting(state):
        run_pass(state)
        for row, at_s in run_pass.promised_s.items():
            assert at_s <= promises.setdefault(row, at_s)

    simulator._pass = noting
    assert simulator.advance() is None
    start_s = simulator.results().start_s
    for row, at_s in promises.items():
        assert not start_s[row] > at_s


def count_passes(simulator: ClusterSimulator) -> dict[int, int]:
    """How often each waiting job has been passed since it became overdue, counted beside the simulator's own books."""
    state, passes = simulator.state, Counter()
    start, limit_s = state.start, simulator.config.wait_limit_s

    def counting(row, allocation):
        arrival_s, now_s = simulator.trace.arrival_s, simulator.now_s
        overdue = [other for other in state.waiting if now_s - arrival_s[other] > limit_s]
        older = [other for other in overdue if other < row and state.within_quota(other)]
        if row in overdue:
            assert older == [], "an overdue job passes an older one"
        del passes[row]
        passes.update(older)
        assert max((passes[other] for other in older), default=0) <= simulator.config.overdue_passes
        return start(row, allocation)

    state.start = counting
    return passes


@settings(max_examples=250, deadline=None)
@given(pick=picks())
def test_overdue_jobs_start_in_turn_and_are_passed_a_bounded_number_of_times(pick):
    config = draw_cluster(pick).model_copy(update={"wait_limit_s": float(pick(0, 15)), "queueing": True})
    simulator = ClusterSimulator(config, draw_trace(pick, config, 20), pick(0, 3))
    count_passes(simulator)
    assert simulator.advance() is None


def test_overdue_jobs_are_passed_at_times():
    """So the bound above is met with."""
    passed = Counter()
    for seed in range(150):
        pick = seeded(seed)
        config = draw_cluster(pick).model_copy(update={"wait_limit_s": 8.0, "queueing": True, "overdue_passes": 2})
        simulator = ClusterSimulator(config, draw_trace(pick, config, 40), seed)
        seen: list[int] = []
        passes = count_passes(simulator)
        start = simulator.state.start

        def noting(row, allocation, start=start, passes=passes, seen=seen):
            attempt = start(row, allocation)
            seen.append(max(passes.values(), default=0))
            return attempt

        simulator.state.start = noting
        simulator.advance()
        passed.update(
            ["at all" if max(seen, default=0) else "never", "to the bound" if max(seen, default=0) == 2 else ""]
        )
    assert passed["at all"] > 20
    assert passed["to the bound"] > 10


def gangs(n: int, *, cpu_milli: list[int], memory_mib: list[int], tenant: list[int], run_s: float = 1000.0) -> JobTrace:
    zeros, ones = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    return JobTrace(
        np.zeros(n), np.full(n, run_s), np.full(n, run_s), ones, zeros, np.array(cpu_milli), np.array(memory_mib),
        tenant=np.array(tenant), tenant_names=("A", "B"),
    )  # fmt: skip


@pytest.mark.parametrize("a_first", [True, False])
def test_dominant_resource_fairness_on_the_papers_example(a_first):
    """Ghodsi et al., NSDI'11, section 4.1: 9 processors and 18 GB, A needs <1, 4 GB> a task and B <3, 1 GB>."""
    tenant = [0] * 6 + [1] * 6 if a_first else [1] * 6 + [0] * 6
    demands = {0: (1000, 4 * 1024), 1: (3000, 1024)}
    trace = gangs(
        12,
        cpu_milli=[demands[t][0] for t in tenant],
        memory_mib=[demands[t][1] for t in tenant],
        tenant=tenant,
    )
    machines = MachineGroup(machines=1, gpus=0, cpu_milli=9000, memory_mib=18 * 1024)
    simulator = ClusterSimulator(ClusterConfig(groups=(machines,), discipline="drf"), trace)
    shares: list[list[float]] = []
    run_pass = simulator._pass

    def noting(state):
        run_pass(state)
        shares.append(state.jobs.tenant_share.tolist())

    simulator._pass = noting
    simulator.advance()
    at_once = simulator.results().start_s == 0.0
    assert np.count_nonzero(at_once & (trace.tenant == 0)) == 3
    assert np.count_nonzero(at_once & (trace.tenant == 1)) == 2
    assert shares[0] == pytest.approx([2 / 3, 2 / 3])


def test_under_fcfs_the_example_is_not_fair():
    trace = gangs(8, cpu_milli=[1000] * 4 + [3000] * 4, memory_mib=[4096] * 4 + [1024] * 4, tenant=[0] * 4 + [1] * 4)
    machines = MachineGroup(machines=1, gpus=0, cpu_milli=9000, memory_mib=18 * 1024)
    simulator = ClusterSimulator(ClusterConfig(groups=(machines,)), trace)
    simulator.advance()
    assert np.flatnonzero(simulator.results().start_s == 0.0).tolist() == [0, 1, 2, 3, 4]
