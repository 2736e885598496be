"""A redrawn future holds nothing that was not revealed, and what is drawn follows from what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cluster_forks import Player, busy_trace, draw_decided, observer_of
from test_cluster_invariants import draw_trace, picks

from handrail.envs.cluster import (
    ClusterConfig,
    ClusterSimulator,
    Faults,
    MachineGroup,
    MachineOutage,
    MachineSlowdown,
    ProcessorOutage,
)
from handrail.traces import HandrailError, JobTrace

SERVERS = (MachineGroup(machines=8, gpus=8),)


class Watching(Player):
    """A player whose simulator is watched by a model."""

    def __init__(self, simulator: ClusterSimulator, luck: int) -> None:
        super().__init__(simulator, observer_of(simulator), luck)
        self.model = simulator.hidden_model()

    def play_until(self, at_s: float) -> bool:
        """To the first decision at ``at_s`` or later, which is left open."""
        while self.play(1):
            self.model.note(self.point)
            if self.point.now_s >= at_s:
                return True
        return False

    def redrawn(self, seed: int, factor: float = 1.0, horizon_s: float = 20_000.0) -> Player:
        """A redrawn fork, with an observer made after it; played up to the horizon at most."""
        simulator = self.simulator.fork()
        self.model.redraw(simulator, np.random.default_rng(seed), factor)
        twin = Player(simulator, self.observer.fork(simulator), self.luck)
        twin.point = self.point
        twin.until_s = simulator.now_s + horizon_s
        return twin


@settings(max_examples=80, deadline=None)
@given(pick=picks(), at_s=st.integers(1, 60), luck=st.integers(0, 5))
def test_nothing_of_the_truth_is_left(pick, at_s, luck):
    """Two worlds that are the same up to a decision, and differ in all that comes: the redrawn futures are the same."""
    config, decide = draw_decided(pick)
    faults = config.faults.model_copy(update={"job_failure_probability": 0.0, "slowdowns": ()})
    knowledge = ("user_estimate", "predicted")[pick(0, 1)]
    config = config.model_copy(update={"knowledge": knowledge, "faults": faults})
    trace = draw_trace(pick, config, 14)
    one = Watching(ClusterSimulator(config, trace, decide=decide), luck)
    if not one.play_until(at_s):
        return
    now_s = one.point.now_s
    fork = one.simulator.fork()  # what has ended or come back by now, and when it did
    ended = set(fork.state.settled.rows()[:, 0].astype(int).tolist())
    unknown = np.array([row not in ended for row in range(len(trace))])
    later = np.arange(len(trace)) >= fork.arrived
    longer = 1.0 + pick(0, 50)
    other_trace = trace.replace(
        run_s=np.where(unknown, np.maximum(trace.run_s, now_s) + longer, trace.run_s),
        arrival_s=np.where(later, trace.arrival_s + pick(1, 9), trace.arrival_s),
        estimate_s=np.where(later, trace.estimate_s + pick(1, 9), trace.estimate_s),
        tenant=np.where(later, 2 - trace.tenant, trace.tenant),
    )
    if config.kill_at_limit:
        other_trace = other_trace.replace(run_s=np.where(unknown, trace.run_s, other_trace.run_s))
    other_trace = other_trace.concat(other_trace.head(3)) if pick(0, 1) and now_s < trace.arrival_s[-1] else other_trace
    kept = tuple(o for o in faults.outages if o.start_s <= now_s)
    moved = tuple(o.model_copy(update={"end_s": o.end_s + 7.0}) if o.end_s > now_s else o for o in kept)
    other_faults = faults.model_copy(update={"outages": moved})
    other_config = config.model_copy(update={"faults": other_faults})
    other = Watching(ClusterSimulator(other_config, other_trace, decide=decide), luck)
    assert other.play_until(at_s)
    assert other.turns == one.turns
    for seed in range(2):
        futures = [watching.redrawn(seed, horizon_s=60.0) for watching in (one, other)]
        for future in futures:
            future.play(40)
        assert futures[0].turns == futures[1].turns
        assert futures[0].simulator.now_s == futures[1].simulator.now_s
        assert futures[0].simulator.charged_s() == futures[1].simulator.charged_s()


@settings(max_examples=60, deadline=None)
@given(pick=picks(), luck=st.integers(0, 5))
def test_any_cluster_can_be_redrawn_and_forks_of_it_share_the_future(pick, luck):
    config, decide = draw_decided(pick)
    live = Watching(ClusterSimulator(config, draw_trace(pick, config, 14), decide=decide), luck)
    if not live.play_until(pick(0, 30)):
        return
    future = live.redrawn(pick(0, 9), (0.8, 1.0, 1.2)[pick(0, 2)], horizon_s=60.0)
    forks = [future.fork() for _ in range(2)]
    forks[0].play(30)  # draws the future; the others find it drawn
    for fork in (forks[1], future):
        fork.play(30)
        assert fork.turns == forks[0].turns
        assert fork.simulator.charged_s() == forks[0].simulator.charged_s()
    with pytest.raises(HandrailError, match="drawn anew"):
        future.simulator.results()
    live.play()
    assert live.simulator.state.settled.rows()[:, 0].tolist() != []


def watched(config: ClusterConfig, trace: JobTrace, at_s: float) -> Watching:
    live = Watching(ClusterSimulator(config, trace, decide="job"), 1)
    assert live.play_until(at_s)
    return live


def test_run_times_are_those_of_jobs_that_ended_given_how_long_they_have_run():
    trace = busy_trace(600)
    trace = trace.replace(run_s=np.where(trace.size > 4, 1_000.0, 100.0 + np.arange(600) % 7))
    config = ClusterConfig(groups=SERVERS, knowledge="user_estimate")
    live = watched(config, trace.replace(tenant=None, tenant_names=()), 8_000.0)
    fork = live.redrawn(3).simulator
    state, true = fork.state, trace.run_s
    rows = state.waited_s()[0]
    assert len(rows) > 20
    for row in rows.tolist():
        drawn_s = state.jobs.run_of[row]
        assert (drawn_s == 1_000.0) == (true[row] == 1_000.0)
        if row in state.running.by_row:
            assert drawn_s > state.running.by_row[row].worked_s(fork.now_s)
        else:
            assert drawn_s in np.unique(true)
    stretched = live.redrawn(3, 1.2).simulator.state.jobs
    waiting = list(state.waiting)
    assert [stretched.run_of[row] for row in waiting] == pytest.approx([1.2 * state.jobs.run_of[r] for r in waiting])
    assert [stretched.estimate_s[row] for row in waiting] == [trace.estimate_s[row] for row in waiting]


def test_limits_that_are_enforced_cap_what_is_drawn():
    trace = busy_trace(400)
    trace = trace.replace(estimate_s=np.minimum(trace.estimate_s, 300.0))
    live = watched(ClusterConfig(groups=SERVERS, kill_at_limit=True), trace, 6_000.0)
    future = live.redrawn(0, 5.0)
    jobs = future.simulator.state.jobs
    assert all(jobs.run_of[row] <= 300.0 for row in future.simulator.state.waiting)
    future.play(100)
    assert all(jobs.run_of[row] <= 300.0 for row in future.simulator.state.waiting)


def test_arrivals_go_on_as_they_came():
    trace = busy_trace(800)
    live = watched(ClusterConfig(groups=(MachineGroup(machines=40, gpus=8),)), trace, 12_000.0)
    fork = live.redrawn(5).simulator
    fork.apply(int(np.flatnonzero(live.point.action_mask)[0]))
    before, start_s = fork.arrived, fork.now_s
    while fork.advance_until(start_s + 6_000.0) is not None:
        fork.apply(0)
    assert fork.now_s == start_s + 6_000.0
    assert fork.arrived - before == pytest.approx(300, rel=0.3)
    sizes = fork.state.jobs.size[before : fork.arrived]
    assert sizes.mean() == pytest.approx(trace.size.mean(), rel=0.25)


@pytest.mark.parametrize("repaired", [True, False])
def test_planned_faults_are_forgotten_and_returns_drawn(repaired):
    past = (MachineOutage(machine=1, start_s=100.0, end_s=110.0),) if repaired else ()
    faults = Faults(
        outages=(
            *past,
            MachineOutage(machine=0, start_s=2_000.0, end_s=1e6),
            MachineOutage(machine=2, start_s=5_000.0, end_s=1e6),
        ),
        slowdowns=(MachineSlowdown(machine=3, start_s=0.0, end_s=1e6, factor=3.0),),
        machine_repair_s=50_000.0,
    )
    live = watched(ClusterConfig(groups=SERVERS, faults=faults), busy_trace(600), 3_000.0)
    future = live.redrawn(1)
    assert future.simulator.down_share == live.simulator.down_share == 1 / 8
    future.play(60)
    simulator = future.simulator
    assert simulator.now_s < 20_000.0
    assert simulator.down_share == (0.0 if repaired else 1 / 8)
    assert simulator.state.slow == {}
    assert simulator.config.faults.outages == simulator.config.faults.slowdowns == ()


def test_processors_that_are_gone_come_back():
    trace = busy_trace(600)
    trace = trace.replace(gpu_milli=0 * trace.tasks, cpu_milli=trace.gpu_milli)
    gone = (ProcessorOutage(start_s=1_000.0, end_s=1e7, processors=10),)
    config = ClusterConfig(processors=64, faults=Faults(processor_outages=gone, machine_repair_s=10.0))
    live = watched(config, trace, 3_000.0)
    future = live.redrawn(0)
    assert future.simulator.down_share == 10 / 64
    future.play(60)
    assert future.simulator.down_share == 0.0
