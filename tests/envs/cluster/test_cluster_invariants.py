"""What holds on every run: capacity, run times, an end for every job, no look into the future, exact scaling."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from cluster_audit import audited
from cluster_workloads import Pick, config_of, draw_jobs, draw_rules, seeded, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.envs.cluster import (
    FAILED,
    FINISHED,
    KILLED,
    REJECTED,
    ClusterConfig,
    ClusterResults,
    ClusterSimulator,
    Faults,
    MachineGroup,
    MachineOutage,
    MachineSlowdown,
    Preemption,
    ProcessorOutage,
)
from handrail.envs.cluster.config import DISCIPLINES, PLACEMENTS, PREEMPTIVE
from handrail.traces import JobTrace


@st.composite
def picks(draw) -> Pick:
    """Hypothesis as a source of whole numbers."""
    return lambda low, high: draw(st.integers(low, high))


def draw_cluster(pick: Pick) -> ClusterConfig:
    """Anything that can be configured, faults of all kinds among it."""
    discipline = DISCIPLINES[pick(0, len(DISCIPLINES) - 1)]
    preemptive = discipline in PREEMPTIVE
    groups = []
    for i in range(pick(0, 2)):
        limited = pick(0, 1)
        groups.append(
            MachineGroup(
                name=f"g{i}",
                machines=pick(1, 3),
                gpus=pick(1, 4),
                cpu_milli=pick(1, 8) * 1000 if limited else None,
                memory_mib=pick(1, 8) * 100 if limited else None,
                gpu_type=("", "a100")[pick(0, 1)],
                speed=(1.0, 0.5, 2.0)[pick(0, 2)],
            )
        )
    n_machines = sum(group.machines for group in groups)
    outages = []
    for _ in range(pick(0, 2) if groups else 0):
        start = pick(0, 40)
        outages.append(MachineOutage(machine=pick(0, n_machines - 1), start_s=start, end_s=start + pick(1, 20)))
    processors = None if groups else pick(1, 8)
    slowdowns, gone = [], []
    for _ in range(pick(0, 2)):
        start = pick(0, 40)
        if groups:
            machine, factor = pick(0, n_machines - 1), (1.5, 2.0, 4.0)[pick(0, 2)]
            slowdowns.append(MachineSlowdown(machine=machine, start_s=start, end_s=start + pick(1, 20), factor=factor))
        elif processors >= 2:
            taken = pick(1, processors // 2)
            gone.append(ProcessorOutage(start_s=start, end_s=start + pick(1, 20), processors=taken))
    return ClusterConfig(
        processors=processors,
        groups=tuple(groups),
        discipline=discipline,
        backfill="none" if preemptive else ("none", "easy", "conservative")[pick(0, 2)],
        knowledge=("user_estimate", "true", "predicted")[pick(0, 2)],
        placement=PLACEMENTS[pick(0, len(PLACEMENTS) - 1)],
        kill_at_limit=pick(0, 3) == 0,
        wait_limit_s=float(pick(0, 20)) if pick(0, 1) else None,
        overdue_passes=pick(0, 3),
        quotas={"tenant0": float(pick(1, 4)), "tenant1": 1.5} if pick(0, 2) == 0 else None,
        queueing=preemptive or pick(0, 9) > 0,
        preemption=Preemption(quantum_s=pick(1, 5), overhead_s=pick(0, 2), las_threshold_s=pick(1, 20)),
        faults=Faults(
            outages=tuple(outages),
            slowdowns=tuple(slowdowns),
            processor_outages=tuple(gone),
            machine_mtbf_s=float(pick(200, 600)) if groups and pick(0, 2) == 0 else None,
            machine_repair_s=5.0,
            job_failure_probability=(0.0, 0.3)[pick(0, 1)],
            max_attempts=pick(1, 3),
            checkpoint_s=(None, 1.0, 4.0)[pick(0, 2)],
            straggler_probability=(0.0, 0.3)[pick(0, 1)],
        ),
    )


def draw_trace(pick: Pick, config: ClusterConfig, most: int) -> JobTrace:
    """Jobs for processors; or for GPUs, whole and shared, processors and memory, of any kind."""
    jobs = draw_jobs(pick, most, 4)
    trace = trace_of(jobs)
    if not config.groups:
        return trace
    n = len(trace)
    kinds = (0, 300, 500, 1000, 1000, 2000, 3000)
    gpu_milli = np.array([kinds[pick(0, 6)] for _ in range(n)])
    cpu_milli = np.array([500 * pick(0 if milli else 1, 4) for milli in gpu_milli.tolist()])
    types = np.array([pick(0, 3) == 0 for _ in range(n)], dtype=np.int64)
    return trace.replace(
        gpu_milli=gpu_milli,
        cpu_milli=cpu_milli,
        memory_mib=np.array([50 * pick(0, 3) for _ in range(n)]),
        gpu_types=types,
        gpu_type_names=("a100",),
    )


def run(config: ClusterConfig, trace: JobTrace, seed: int = 0) -> ClusterResults:
    """A replay under audit, to its end."""
    simulator = ClusterSimulator(config, trace, seed)
    pool = audited(simulator)
    assert simulator.advance() is None
    assert pool.held == []
    assert len(simulator.state.running) == len(simulator.state.waiting) == 0
    assert simulator.state.busy_size == 0
    assert simulator.state.tenant_size == [0.0] * len(simulator.state.tenant_size)
    results = simulator.results()
    assert pool.placed == results.attempts.sum()
    return results


def assert_sound(results: ClusterResults, config: ClusterConfig) -> None:
    """What the columns of any run to its end obey."""
    finished, rejected = results.status == FINISHED, results.status == REJECTED
    faults = config.faults
    may_fail = faults.job_failure_probability or not config.queueing
    allowed = {FINISHED, REJECTED, *([FAILED] if may_fail else [])}
    assert set(results.status.tolist()) <= allowed | ({KILLED} if config.kill_at_limit else set())
    ran = ~rejected
    assert (results.attempts[ran] >= 1).all()
    assert (results.attempts[rejected] == 0).all()
    assert (results.service_s[rejected] == 0).all()
    assert (results.start_s[ran] >= results.arrival_s[ran]).all()
    assert (results.preemptions <= np.maximum(results.attempts - 1, 0)).all()
    slack = 1e-9 * results.end_s + 1e-6
    assert (results.wasted_s <= results.service_s + slack).all()
    assert (results.finish_s[ran] >= results.start_s[ran]).all()
    assert (results.finish_s[ran] - results.arrival_s[ran] >= results.service_s[ran] - slack).all()
    speeds = [group.speed for group in config.groups] or [1.0]
    slowest = (faults.straggler_slowdown if faults.straggler_probability else 1.0) / min(speeds)
    slowest *= max((slowdown.factor for slowdown in faults.slowdowns), default=1.0)
    useful_s = (results.service_s - results.wasted_s)[finished]
    assert (useful_s >= results.run_s[finished] / max(speeds) - slack).all()
    assert (useful_s <= results.run_s[finished] * slowest + slack).all()
    usage = results.usage
    assert (np.diff(usage.times_s) > 0).all()
    assert (usage.busy_size >= 0).all()
    assert (usage.down_size >= 0).all()
    assert (usage.busy_size + usage.down_size <= results.cluster_size).all()
    busy = float(np.sum(usage.busy_size[:-1] * np.diff(usage.times_s)))
    assert busy == pytest.approx(float(np.sum(results.size * results.service_s)), abs=slack * 10)
    if config.queueing is False:
        assert (results.start_s[ran] == results.arrival_s[ran]).all()


def assert_identical(one: ClusterResults, other: ClusterResults) -> None:
    """Equal in every bit."""
    for field in fields(ClusterResults):
        if field.name != "usage":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)
    for field in fields(one.usage):
        np.testing.assert_array_equal(getattr(one.usage, field.name), getattr(other.usage, field.name))


@settings(max_examples=250, deadline=None)
@given(pick=picks(), seed=st.integers(0, 3))
def test_nothing_is_given_twice_and_every_job_ends_once(pick, seed):
    config = draw_cluster(pick)
    trace = draw_trace(pick, config, 12)
    results = run(config, trace, seed)
    assert_sound(results, config)
    assert_identical(results, run(config, trace, seed))


@settings(max_examples=150, deadline=None)
@given(pick=picks(), seed=st.integers(0, 3))
def test_whatever_a_policy_does_every_job_ends_once(pick, seed):
    """Any legal action, at once or later; waiting is legal only where something will happen."""
    config = draw_cluster(pick)
    if config.discipline in PREEMPTIVE:
        config = config.model_copy(update={"discipline": "fcfs"})
    if pick(0, 3) == 0:
        changes = {"protocol": "rlscheduler", "backfill": ("none", "reference")[pick(0, 1)], "quotas": None}
        config = config.model_copy(update={**changes, "knowledge": "user_estimate"})
    config = config.model_copy(update={"queueing": True, "window": pick(1, 6)})
    simulator = ClusterSimulator(config, draw_trace(pick, config, 12), seed, decide="job")
    pool = audited(simulator)
    outcomes = []
    while (point := simulator.advance()) is not None:
        legal = np.flatnonzero(point.action_mask).tolist()
        outcomes += point.outcomes
        simulator.apply(legal[pick(0, len(legal) - 1)], latency_s=0.5 * pick(0, 2))
    results = simulator.results()
    assert pool.held == []
    assert pool.placed == results.attempts.sum()
    assert simulator.state.waiting_work == pytest.approx(0, abs=1e-6)
    assert_sound(results, config)
    items = [outcome.item for outcome in outcomes]
    assert len(set(items)) == len(items)
    for outcome in outcomes:
        assert outcome.jct_s == results.finish_s[outcome.item] - results.arrival_s[outcome.item]
        assert outcome.wait_s == results.start_s[outcome.item] - results.arrival_s[outcome.item]


def test_the_clusters_meet_every_event_often():
    met: Counter[str] = Counter()
    for seed in range(250):
        pick = seeded(seed)
        config = draw_cluster(pick)
        results = run(config, draw_trace(pick, config, 40), seed)
        assert_sound(results, config)
        for name, code in (("rejected", REJECTED), ("failed", FAILED), ("killed", KILLED)):
            met[name] += int((results.status == code).any())
        met["preempted"] += int((results.preemptions > 0).any())
        met["wasted"] += int((results.wasted_s > 0).any())
        met["down"] += int((results.usage.down_size > 0).any())
        met["processors down"] += int(not config.groups and (results.usage.down_size > 0).any())
        met["shared"] += int((results.size % 1 > 0)[results.status == FINISHED].any())
        met["no GPU"] += int((results.size == 0)[results.status == FINISHED].any())
    assert min(met.values()) >= 8, met


@settings(max_examples=150, deadline=None)
@given(pick=picks(), at_s=st.integers(1, 60))
def test_what_is_not_revealed_yet_changes_nothing(pick, at_s):
    """Run times of jobs that have not ended, and whatever has not arrived, may be anything."""
    config = draw_cluster(pick)
    config = config.model_copy(
        update={
            "knowledge": ("user_estimate", "predicted")[pick(0, 1)],
            "faults": config.faults.model_copy(update={"job_failure_probability": 0.0}),
        }
    )
    trace = draw_trace(pick, config, 12)
    before = run(config, trace)
    ended = before.finish_s < at_s
    other = trace.replace(
        run_s=np.where(ended, trace.run_s, trace.run_s + at_s + pick(1, 50)),
        arrival_s=np.where(trace.arrival_s < at_s, trace.arrival_s, trace.arrival_s + pick(0, 9)),
        estimate_s=np.where(trace.arrival_s < at_s, trace.estimate_s, trace.estimate_s + pick(0, 9)),
    )
    after = run(config, other)
    for column in ("start_s", "finish_s"):
        past_before, past_after = getattr(before, column), getattr(after, column)
        np.testing.assert_array_equal(
            np.where(past_before < at_s, past_before, np.inf), np.where(past_after < at_s, past_after, np.inf)
        )


@settings(max_examples=100, deadline=None)
@given(pick=picks(), exponent=st.sampled_from([1, 3, 20]))
def test_times_scale_by_powers_of_two_bit_for_bit(pick, exponent):
    setup = draw_rules(pick)
    setup = replace(setup, discipline=("fcfs", "sjf", "saf", "wfp3", "drf")[pick(0, 4)], knowledge="user_estimate")
    trace, factor = trace_of(draw_jobs(pick, 14, setup.machines[0])), 2.0**exponent
    config = config_of(setup)
    limit_s = None if config.wait_limit_s is None else config.wait_limit_s * factor
    slow = trace.replace(
        arrival_s=trace.arrival_s * factor, run_s=trace.run_s * factor, estimate_s=trace.estimate_s * factor
    )
    before, after = run(config, trace), run(config.model_copy(update={"wait_limit_s": limit_s}), slow)
    for column in ("start_s", "finish_s", "service_s"):
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column) * factor)
    np.testing.assert_array_equal(after.status, before.status)


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_of_a_running_simulator_continues_identically(seed):
    """A policy that takes the last job that fits; whether it waits follows the clock."""

    def act(simulator: ClusterSimulator, point) -> None:
        legal = np.flatnonzero(point.action_mask)
        jobs = legal[legal < len(point.action_mask) - 1]
        waits = point.action_mask[-1] and int(point.now_s) % 5 == 0
        simulator.apply(
            len(point.action_mask) - 1 if waits else int(jobs[-1]), latency_s=0.5 * (simulator.decisions % 2)
        )

    pick = seeded(714 + seed)
    config = draw_cluster(pick).model_copy(update={"discipline": "sjf", "backfill": "none", "queueing": True})
    trace = draw_trace(pick, config, 40)
    simulator = ClusterSimulator(config, trace, seed, decide="job")
    fork, number = None, 0
    while (point := simulator.advance()) is not None:
        if number == 5:
            fork = copy.deepcopy(simulator)
            act(fork, point)
        act(simulator, point)
        number += 1
    assert fork is not None
    while (point := fork.advance()) is not None:
        act(fork, point)
    assert_identical(fork.results(), simulator.results())
