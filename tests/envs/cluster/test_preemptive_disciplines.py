"""SRTF, LAS and Gittins against a simulator that takes one second after another, and what each is known for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cluster_workloads import draw_jobs, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cluster import Job

from handrail.envs.cluster import ClusterConfig, ClusterResults, ClusterSimulator, Preemption
from handrail.envs.cluster.metrics import jct_s

NAMES = ("srtf", "las", "gittins")


@dataclass
class Life:
    """What a job has had so far, in whole seconds."""

    job: Job
    running: bool = False
    over: bool = False
    done: int = 0
    restoring: int = 0
    preemptions: int = 0
    first_start: int = -1
    finish: int = -1


def index(service: int, threshold: int, services: list[int]) -> float:
    """Gittins index of a job in the first queue, from the services of completed jobs."""
    longer = [other for other in services if other > service]
    ending = [other for other in longer if other <= threshold]
    spent = sum(min(other, threshold) - service for other in longer)
    return len(ending) / spent if spent else 0.0


def second_by_second(name: str, processors: int, jobs: list[Job], threshold: int, overhead: int) -> list[Life]:
    lives = [Life(job) for job in jobs]
    services: list[int] = []

    def score(life: Life) -> tuple[int, float, int]:
        service = life.done * life.job.size
        if name == "srtf":
            return 0, max(life.job.user_estimate_s - life.done, 0.0), life.job.row
        if service >= threshold:
            return 1, life.job.arrival_s, life.job.row
        return 0, life.job.arrival_s if name == "las" else -index(service, threshold, services), life.job.row

    def together(candidates: list[Life]) -> list[Life]:
        chosen, left = [], processors
        for life in candidates:
            if life.job.size <= left:
                chosen.append(life)
                left -= life.job.size
        return chosen

    now = 0
    while not all(life.over for life in lives):
        for life in lives:
            if life.running and life.done == life.job.run_s:
                life.running, life.over, life.finish = False, True, now
                services.append(int(life.job.run_s) * life.job.size)
        here = [life for life in lives if not life.over and life.job.arrival_s <= now]
        chosen = together(sorted(here, key=score))
        if any(not life.running for life in chosen):
            for life in here:
                if life.running and life not in chosen:
                    life.running, life.restoring = False, overhead
                    life.preemptions += 1
        for life in sorted((life for life in here if not life.running), key=score):
            busy = sum(other.job.size for other in here if other.running)
            if busy + life.job.size <= processors:
                life.running = True
                life.restoring = overhead if life.preemptions else 0
                life.first_start = now if life.first_start < 0 else life.first_start
        for life in here:
            if life.running and life.restoring:
                life.restoring -= 1
            elif life.running:
                life.done += 1
        now += 1
    return lives


def replay(name: str, processors: int, jobs: list[Job], *, threshold: float, overhead_s: float) -> ClusterResults:
    config = ClusterConfig(
        processors=processors,
        discipline=name,
        preemption=Preemption(quantum_s=1, overhead_s=overhead_s, las_threshold_s=threshold),
    )
    simulator = ClusterSimulator(config, trace_of(jobs))
    assert simulator.advance() is None
    return simulator.results()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_second_is_as_the_rules_say(name, data):
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    processors = pick(1, 5)
    jobs = draw_jobs(pick, 10, processors)
    threshold, overhead = pick(1, 30), pick(0, 3)
    results = replay(name, processors, jobs, threshold=threshold, overhead_s=overhead)
    lives = second_by_second(name, processors, jobs, threshold, overhead)
    assert results.start_s.tolist() == [life.first_start for life in lives]
    assert results.finish_s.tolist() == [life.finish for life in lives]
    assert results.preemptions.tolist() == [life.preemptions for life in lives]
    np.testing.assert_array_equal(results.service_s - results.wasted_s, results.run_s)


def one_long_three_short() -> list[Job]:
    """A job of 100 s that has the machine, and three of 5 s that come later."""
    return [Job(0, 0.0, 100.0, 100.0, 1), *(Job(row, 20.0 * row, 5.0, 5.0, 1) for row in (1, 2, 3))]


@pytest.mark.parametrize("name", ["srtf", "las"])
def test_short_jobs_overtake_a_long_one_which_resumes_and_pays_for_it(name):
    results = replay(name, 1, one_long_three_short(), threshold=10.0, overhead_s=2.0)
    assert (results.start_s[1:] == results.arrival_s[1:]).all()
    assert results.preemptions.tolist() == [3, 0, 0, 0]
    assert results.attempts.tolist() == [4, 1, 1, 1]
    assert results.wasted_s.tolist() == [6.0, 0.0, 0.0, 0.0]
    assert results.finish_s[0] == 100 + 3 * 5 + 3 * 2
    assert results.service_s[0] == 106


def test_las_lets_a_job_be_until_it_has_attained_the_threshold():
    results = replay("las", 1, one_long_three_short(), threshold=30.0, overhead_s=0.0)
    assert results.start_s[1] == 30.0
    assert results.preemptions[0] == 3


def test_preemption_shortens_the_mean_of_heavy_tailed_jobs():
    rng = np.random.default_rng(1)
    runs = np.maximum(rng.pareto(1.3, 400) * 20, 1).round()
    arrivals = np.cumsum(rng.exponential(runs.mean() / 4, 400)).round()
    jobs = [Job(row, a, r, r, 1) for row, (a, r) in enumerate(zip(arrivals.tolist(), runs.tolist(), strict=True))]
    plain = ClusterSimulator(ClusterConfig(processors=4), trace_of(jobs))
    plain.advance()
    fcfs = jct_s(plain.results()).mean()
    for name in NAMES:
        assert jct_s(replay(name, 4, jobs, threshold=60.0, overhead_s=1.0)).mean() < 0.9 * fcfs
