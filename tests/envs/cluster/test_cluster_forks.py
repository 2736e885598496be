"""Forks go on exactly as what they were made of would have, and leave it as it was."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from cluster_workloads import Pick
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cluster_invariants import assert_identical, draw_cluster, draw_trace, picks

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, MachineGroup, SchedulerObserver
from handrail.envs.cluster.config import PREEMPTIVE
from handrail.envs.cluster.group_observer import GroupObserver
from handrail.traces import HandrailError, JobTrace

SERVERS = (MachineGroup(machines=8, gpus=8),)

Turn = tuple[float, int, bytes, tuple[object, ...], int, bytes]


def draw_decided(pick: Pick) -> tuple[ClusterConfig, str]:
    """A cluster of any kind in which a policy decides, and what it decides."""
    config = draw_cluster(pick)
    if config.discipline in PREEMPTIVE:
        config = config.model_copy(update={"discipline": "sjf"})
    if config.groups and pick(0, 2) == 0:
        backfill = ("none", "easy")[pick(0, 1)]
        return config.model_copy(update={"backfill": backfill, "queueing": True}), "group"
    if pick(0, 4) == 0:
        changes = {"protocol": "rlscheduler", "backfill": ("none", "reference")[pick(0, 1)], "quotas": None}
        config = config.model_copy(update={**changes, "knowledge": ("user_estimate", "predicted")[pick(0, 1)]})
    return config.model_copy(update={"queueing": True, "window": pick(1, 6)}), "job"


def observer_of(simulator: ClusterSimulator) -> SchedulerObserver | GroupObserver:
    return SchedulerObserver(simulator) if simulator.decide == "job" else GroupObserver(simulator)


class Player:
    """Plays a simulator with actions that follow from a seed and the decision's number; keeps what it saw."""

    def __init__(self, simulator: ClusterSimulator, observer: Callable, luck: int) -> None:
        self.simulator = simulator
        self.observer = observer
        self.luck = luck
        self.turns: list[Turn] = []
        self.until_s = 0.0  # 0: to the end
        self.point: Any = None

    def play(self, turns: int = 10_000) -> bool:
        """Up to so many decisions; the last of them is left open. Whether there was one."""
        simulator = self.simulator
        for _ in range(turns):
            if self.point is not None:
                rng = np.random.default_rng((self.luck, self.point.decision))
                legal = np.flatnonzero(self.point.action_mask)
                simulator.apply(int(rng.choice(legal)), latency_s=0.5 * int(rng.integers(3)))
            self.point = point = simulator.advance_until(self.until_s) if self.until_s else simulator.advance()
            if point is None:
                return False
            seen = self.observer(point).tobytes()
            mask = point.action_mask.tobytes()
            self.turns.append((point.now_s, point.item, mask, point.outcomes, point.decision, seen))
        return True

    def fork(self) -> Player:
        simulator = self.simulator.fork()
        twin = Player(simulator, self.observer.fork(simulator), self.luck)
        twin.turns = self.turns.copy()
        twin.until_s = self.until_s
        twin.point = self.point
        return twin


def same(one: Player, other: Player) -> None:
    assert one.turns == other.turns
    assert_identical(one.simulator.results(), other.simulator.results())
    assert one.simulator.charged_s() == other.simulator.charged_s()
    assert one.simulator.decisions == other.simulator.decisions


@settings(max_examples=200, deadline=None)
@given(pick=picks(), seed=st.integers(0, 3), luck=st.integers(0, 5))
def test_forks_continue_as_if_nothing_had_been_forked(pick, seed, luck):
    config, decide = draw_decided(pick)
    trace = draw_trace(pick, config, 14)

    def fresh() -> Player:
        simulator = ClusterSimulator(config, trace, seed, decide=decide)
        return Player(simulator, observer_of(simulator), luck)

    unforked = fresh()
    unforked.play()

    live, forks = fresh(), []
    while live.play(pick(1, 4)):
        fork = live.fork()
        if pick(0, 1):
            # What another fork does meanwhile, with other actions, is nothing to the rest.
            stray = live.fork()
            stray.luck = luck + 100
            stray.play(pick(1, 20))
            if stray.point is not None:
                forks_end = stray.fork()
                forks_end.play()
                stray.play()
                same(stray, forks_end)
        if pick(0, 2) == 0 and fork.play(pick(1, 3)):
            fork = fork.fork()
        forks.append(fork)
    same(live, unforked)
    for fork in forks:
        fork.play()
        same(fork, unforked)


@settings(max_examples=150, deadline=None)
@given(pick=picks(), seed=st.integers(0, 3))
def test_forks_of_the_standing_scheduler_too_at_any_time(pick, seed):
    config = draw_cluster(pick)
    trace = draw_trace(pick, config, 14)
    unforked = ClusterSimulator(config, trace, seed)
    unforked.advance()
    live = ClusterSimulator(config, trace, seed)
    forks = []
    for at_s in sorted(pick(0, 80) + 0.5 * pick(0, 1) for _ in range(3)):
        live.advance_until(at_s)
        assert live.now_s <= at_s
        forks.append(live.fork())
    live.advance()
    for simulator in (live, *forks):
        simulator.advance()
        assert_identical(simulator.results(), unforked.results())
        assert simulator.charged_s() == unforked.charged_s()


@settings(max_examples=100, deadline=None)
@given(pick=picks(), luck=st.integers(0, 5))
def test_stopping_on_the_way_changes_nothing(pick, luck):
    config, decide = draw_decided(pick)
    trace = draw_trace(pick, config, 12)
    simulator = ClusterSimulator(config, trace, decide=decide)
    whole = Player(simulator, observer_of(simulator), luck)
    whole.play()

    class Stopping(ClusterSimulator):
        def advance(self):
            while True:
                until_s = self.now_s + 0.5 * pick(1, 30)
                point = self.advance_until(until_s)
                if point is not None:
                    assert point.now_s < until_s
                    return point
                if self.now_s < until_s:
                    return super().advance()

    stopping = Stopping(config, trace, decide=decide)
    stopped = Player(stopping, observer_of(stopping), luck)
    stopped.play()
    same(stopped, whole)


def test_an_open_decision_is_open_in_both():
    trace = busy_trace(40)
    simulator = ClusterSimulator(ClusterConfig(groups=SERVERS), trace, decide="job")
    while simulator.advance() is not None and simulator.decisions < 10:
        simulator.apply(0)
    fork = simulator.fork()
    for one in (simulator, fork):
        with pytest.raises(HandrailError, match="open"):
            one.advance_until(1e9)
        one.apply(0)
        assert one.decisions == 11
    with pytest.raises(HandrailError, match="no decision is open"):
        fork.apply(0)


def test_charges_end_up_as_bounded_slowdowns_and_need_no_run_times_before():
    trace = busy_trace(300)
    config = ClusterConfig(groups=SERVERS, backfill="easy")
    longer = trace.replace(run_s=np.where(trace.arrival_s > 1_000.0, 2.0 * trace.run_s, trace.run_s))
    one, other = ClusterSimulator(config, trace), ClusterSimulator(config, longer)
    for simulator in (one, other):
        simulator.advance_until(1_000.0)
    assert one.charged_s() == other.charged_s() > 0.0
    one.advance()
    results = one.results()
    slowdown = np.maximum(1.0, (results.finish_s - results.arrival_s) / np.maximum(results.run_s, 10.0))
    assert one.charged_s() == pytest.approx(slowdown.sum(), rel=1e-12)


def busy_trace(n: int, *, gap_s: float = 20.0, run_s: float = 400.0) -> JobTrace:
    """Jobs of 1 to 8 GPUs."""
    rng = np.random.default_rng(1)
    run = np.maximum(rng.exponential(run_s, n), 1.0)
    size = rng.integers(1, 9, n)
    zeros = np.zeros(n, dtype=np.int64)
    return JobTrace(
        arrival_s=np.cumsum(rng.exponential(gap_s, n)),
        run_s=run,
        estimate_s=run * rng.choice([1.0, 2.0, 5.0], n),
        tasks=np.ones(n, dtype=np.int64),
        gpu_milli=1000 * size,
        cpu_milli=zeros,
        memory_mib=zeros,
        tenant=rng.integers(0, 20, n),
        tenant_names=tuple(f"t{i}" for i in range(20)),
    )


def test_the_cost_of_a_fork_does_not_grow_with_what_has_ended():
    """With as much in flight, 30,000 jobs that have ended make a fork no slower (bound wide for busy machines)."""
    costs = []
    config = ClusterConfig(
        groups=(MachineGroup(machines=128, gpus=8),), backfill="easy", knowledge="predicted", discipline="sjf"
    )
    for n in (2_000, 40_000):
        trace = busy_trace(n, gap_s=2.0)
        simulator = ClusterSimulator(config, trace)
        simulator.advance_until(float(trace.arrival_s[3 * n // 4]))
        assert len(simulator.state.running) > 100
        simulator.fork()
        gc.collect()
        taken = []
        for _ in range(15):
            began = time.perf_counter()
            simulator.fork()
            taken.append(time.perf_counter() - began)
        costs.append(median(taken) / (len(simulator.state.running) + len(simulator.state.waiting)))
    assert costs[1] < 3.0 * costs[0], costs
