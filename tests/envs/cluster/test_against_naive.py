"""The simulator against the naive one, bit for bit, ties and simultaneous events included."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cluster_workloads import Pick, config_of, draw_jobs, draw_machines, draw_rules, fresh, seeded, trace_of
from hypothesis import event, given, settings
from hypothesis import strategies as st
from naive_cluster import FINISHED, KILLED, REJECTED, Cluster, Job, Setup

from handrail.envs.cluster import ClusterResults, ClusterSimulator


@st.composite
def picks(draw) -> Pick:
    """Hypothesis as a source of whole numbers."""
    return lambda low, high: draw(st.integers(low, high))


def run_both(setup: Setup, jobs: list[Job], *, on_gpus: bool = False) -> tuple[ClusterResults, Cluster]:
    """Both simulators on the same work; they agree in every bit."""
    trace = trace_of(jobs, origin_s=setup.origin_s, on_gpus=on_gpus)
    simulator = ClusterSimulator(config_of(setup, on_gpus=on_gpus), trace)
    assert simulator.advance() is None
    results = simulator.results()
    naive = Cluster(setup, fresh(jobs)).run()
    for column, expected in {
        "start_s": [job.first_start_s for job in naive.jobs],
        "finish_s": [job.finish_s for job in naive.jobs],
        "service_s": [job.service_s for job in naive.jobs],
        "status": [job.status for job in naive.jobs],
        "attempts": [job.attempts for job in naive.jobs],
    }.items():
        np.testing.assert_array_equal(getattr(results, column), expected, err_msg=column)
    return results, naive


def draw_standard(pick: Pick, most: int = 14) -> tuple[Setup, list[Job]]:
    setup = draw_rules(pick)
    unit_s = (1.0, 0.1)[pick(0, 1)]
    return setup, draw_jobs(pick, most, setup.machines[0] + (pick(0, 5) == 0), unit_s=unit_s)


def with_estimates(setup: Setup) -> Setup:
    """The same where something is known of run times."""
    return replace(setup, knowledge="user_estimate") if setup.knowledge == "none" else setup


@settings(max_examples=250, deadline=None)
@given(pick=picks())
def test_processors_under_the_standard_protocol(pick):
    setup, jobs = draw_standard(pick)
    event(f"{setup.discipline}, {setup.backfill}")
    run_both(setup, jobs)


@settings(max_examples=100, deadline=None)
@given(pick=picks())
def test_processors_under_the_protocol_of_rlscheduler(pick):
    setup, jobs = draw_standard(pick)
    setup = replace(with_estimates(setup), rlscheduler=True, backfill=("none", "reference")[pick(0, 1)], quotas=None)
    setup = replace(setup, queueing=True)
    run_both(setup, jobs)


@settings(max_examples=150, deadline=None)
@given(pick=picks())
def test_machines_that_fail_and_differ_in_speed(pick):
    setup = draw_machines(pick)
    run_both(setup, draw_jobs(pick, 10, 3, each=setup.machines[0]), on_gpus=True)


@pytest.mark.parametrize("backfill", ["none", "easy", "conservative"])
def test_longer_queues(backfill):
    """Long enough for sifting candidates as columns, which short queues do not meet."""
    met: Counter[str] = Counter()
    for seed in range(40):
        pick = seeded(1000 + seed)
        setup, _ = draw_standard(pick)
        setup = replace(with_estimates(setup), backfill=backfill, queueing=True, kill_at_limit=seed % 2 == 0)
        jobs = draw_jobs(pick, 80, setup.machines[0] + (seed % 10 == 0))
        results, naive = run_both(setup, jobs)
        met["killed"] += int((results.status == KILLED).any())
        met["rejected"] += int((results.status == REJECTED).any())
        met["passed while overdue"] += any(job.passes for job in naive.jobs)
        overtaken = np.minimum.accumulate(np.nan_to_num(results.start_s, nan=np.inf)[::-1])[::-1]
        met["overtaken"] += int((overtaken < results.start_s).any())
        met["waited"] += int((results.start_s > results.arrival_s)[results.status == FINISHED].any())
    wanted = {"killed", "rejected", "waited", "overtaken"} | ({"passed while overdue"} if backfill != "none" else set())
    assert min(met[what] for what in wanted) >= 2, met


def test_the_machines_meet_every_event_often():
    met: Counter[str] = Counter()
    for seed in range(150):
        pick = seeded(5000 + seed)
        setup = draw_machines(pick)
        results, _ = run_both(setup, draw_jobs(pick, 20, 3, each=setup.machines[0]), on_gpus=True)
        finished = results.status == FINISHED
        met["restarted"] += int((results.attempts > 1).any())
        met["lost work"] += int((results.wasted_s > 0).any())
        met["kept work"] += int((results.service_s - results.wasted_s > results.wasted_s)[results.attempts > 1].any())
        met["rejected"] += int((~finished).any())
    assert min(met.values()) >= 8, met
