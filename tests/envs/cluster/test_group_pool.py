"""The pool of groups against one pool a group, its reservations, and EASY backfilling by group."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_samples import gpu_jobs, processor_jobs

from handrail.envs.cluster import FINISHED, ClusterConfig, ClusterSimulator, Demand, Faults, MachineGroup, MachineOutage
from handrail.envs.cluster.group_pool import GroupPool
from handrail.envs.cluster.machine_pool import MachinePool
from handrail.traces import HandrailError

GROUPS = (
    MachineGroup(name="slow", machines=3, gpus=4, gpu_type="T4", speed=0.5),
    MachineGroup(name="fast", machines=2, gpus=8, gpu_type="A100", speed=2.0),
    MachineGroup(name="small", machines=4, gpus=2, gpu_type="T4", speed=1.0),
)
TYPES = ("A100", "T4")


def gang(tasks: int, gpus: int, types: int = 0) -> Demand:
    return Demand(tasks, 1000 * gpus, 0, 0, types)


def pool() -> GroupPool:
    return GroupPool(GROUPS, "best-fit", 0, gpu_types=TYPES)


def test_sizes_and_what_ever_fits():
    groups = pool()
    assert (groups.size, groups.free_size, groups.n_machines) == (36.0, 36.0, 9)
    assert groups.can_ever_fit(gang(4, 4))
    assert not groups.can_ever_fit(gang(17, 1))  # the cluster has 36, but no group has 17
    assert not groups.can_ever_fit(gang(13, 1, types=0b10))
    assert groups.groups_that_fit(gang(12, 1)).tolist() == [True, True, False]
    assert groups.groups_that_fit(gang(1, 1, types=0b01)).tolist() == [False, True, False]


def test_a_gang_stays_in_its_group_and_machines_are_numbered_through():
    groups = pool()
    first = groups.place_in_group(gang(3, 2), 2)
    second = groups.place(gang(2, 4))
    third = groups.place_in_group(gang(2, 8), 1)
    assert groups.machines_of(first) == (5, 6, 7)
    assert groups.machines_of(second) == (0, 1)  # the first group that has room
    assert groups.machines_of(third) == (3, 4)
    assert [groups.speed(a) for a in (first, second, third)] == [1.0, 0.5, 2.0]
    assert groups.running == [1, 1, 1]
    assert groups.place_in_group(gang(1, 1), 1) is None
    assert groups.place(gang(2, 4)) is None
    assert groups.free_size == 6.0
    for allocation in (first, second, third):
        groups.release(allocation)
    assert groups.free_size == 36.0
    assert groups.running == [0, 0, 0]


def test_a_machine_that_is_down_takes_nothing():
    groups = pool()
    for machine in (3, 4):
        assert groups.group_of(machine) == 1
        groups.set_down(machine)
    assert groups.free_size == 20.0
    assert groups.groups_that_fit(gang(1, 1)).tolist() == [True, False, True]
    groups.set_up(4)
    assert groups.machines_of(groups.place_in_group(gang(1, 8), 1)) == (4,)


def test_a_reservation_is_the_earliest_over_the_groups():
    groups = pool()
    slow = groups.place_in_group(gang(3, 4), 0)
    fast = groups.place_in_group(gang(2, 8), 1)
    releases = [(50.0, fast), (90.0, slow)]
    groups.place_in_group(gang(1, 1), 2)
    reservation = groups.reserve(gang(3, 4), 10.0, releases)
    assert (reservation.at_s, reservation.group) == (50.0, 1)
    assert reservation.fits_beside(gang(1, 2))
    assert reservation.groups_beside(gang(1, 2)).tolist() == [False, False, True]
    assert reservation.delay_s(gang(1, 2), 80.0) == 0.0
    assert reservation.delay_s(gang(1, 8), 40.0) == 0.0
    assert reservation.delay_s(gang(1, 8), 80.0) == 30.0
    assert groups.reserve(gang(1, 2), 10.0, releases).at_s == 10.0
    assert groups.reserve(gang(17, 1), 10.0, releases).at_s == math.inf


def test_what_the_reservation_needs_now_is_left_alone():
    groups = pool()
    held = groups.place_in_group(gang(1, 8), 1)
    groups.place_in_group(gang(3, 4), 0)
    groups.place_in_group(gang(1, 1), 2)
    reservation = groups.reserve(gang(2, 8), 0.0, [(100.0, held)])
    assert (reservation.at_s, reservation.group) == (100.0, 1)
    assert groups.groups_that_fit(gang(1, 2)).tolist() == [False, True, True]
    assert reservation.groups_beside(gang(1, 2)).tolist() == [False, False, True]
    allocation = groups.place(gang(1, 2), reservation)
    assert groups.machines_of(allocation)[0] >= 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(0, 2), st.booleans()), max_size=40))
def test_each_group_does_what_a_pool_of_its_own_does(steps):
    groups = pool()
    alone = [MachinePool((group,), "best-fit", gpu_types=TYPES) for group in GROUPS]
    held = []
    for tasks, gpus, group, releases in steps:
        if releases and held:
            (allocation, own), group = held.pop(0)
            groups.release(allocation)
            alone[group].release(own)
            continue
        demand = gang(tasks, gpus)
        assert groups.groups_that_fit(demand).tolist() == [one.fits(demand) for one in alone]
        allocation, own = groups.place_in_group(demand, group), alone[group].place(demand)
        assert (allocation is None) == (own is None)
        if allocation is not None:
            assert allocation == (group, own)
            held.append(((allocation, own), group))
        assert groups.free_size == sum(one.free_size for one in alone)
        free = sum(one.free_size for one in alone)
        expected = sum(one.fragmentation() * one.free_size for one in alone) / free if free else 0.0
        assert groups.fragmentation() == pytest.approx(expected)


def play(config: ClusterConfig, trace, choose):
    simulator = ClusterSimulator(config, trace, decide="group")
    point = simulator.advance()
    while point is not None:
        simulator.apply(choose(simulator, point))
        point = simulator.advance()
    return simulator


CLUSTER = ClusterConfig(groups=GROUPS, knowledge="predicted")


@pytest.mark.parametrize("backfill", ["none", "easy"])
def test_run_times_follow_the_chosen_group_and_everything_is_free_at_the_end(backfill):
    trace = gpu_jobs(200)
    rng = np.random.default_rng(0)
    chosen = {}

    def choose(simulator, point):
        group = int(rng.choice(np.flatnonzero(point.action_mask)))
        chosen[point.item] = group
        return group

    simulator = play(CLUSTER.model_copy(update={"backfill": backfill}), trace, choose)
    results = simulator.results()
    assert (results.status == FINISHED).all()
    speed = np.array([GROUPS[chosen[row]].speed for row in range(200)])
    assert np.allclose(results.finish_s - results.start_s, trace.run_s / speed)
    assert simulator.pool.free_size == simulator.pool.size
    in_order = bool((np.diff(results.start_s) >= 0).all())
    assert in_order == (backfill == "none")


def test_backfilling_never_delays_the_head_where_estimates_are_right():
    trace = gpu_jobs(400, gap_s=40.0)
    rng = np.random.default_rng(0)
    config = CLUSTER.model_copy(update={"backfill": "easy", "knowledge": "true"})
    promised: dict[int, float] = {}
    passed = 0

    def choose(simulator, point):
        nonlocal passed
        state = simulator.state
        head = state.waiting.first(point.now_s)
        if head != point.item:
            passed += 1
            reservation = simulator.pool.reserve(state.jobs.demands[head], point.now_s, state.running.releases())
            promised.setdefault(head, reservation.at_s)
            assert reservation.at_s <= promised[head] + 1e-6
        return int(rng.choice(np.flatnonzero(point.action_mask)))

    start_s = play(config, trace, choose).results().start_s
    assert passed > 50
    assert all(start_s[row] <= at_s + 1e-6 for row, at_s in promised.items())


def test_an_overdue_job_is_passed_a_bounded_number_of_times():
    trace = gpu_jobs(300, gap_s=30.0)
    config = CLUSTER.model_copy(update={"backfill": "easy", "wait_limit_s": 600.0, "overdue_passes": 3})
    results = play(config, trace, lambda _, point: int(np.argmax(point.action_mask))).results()
    passes = [
        int(((np.arange(300) > row) & (start_s > results.arrival_s[row] + 600.0) & (start_s < own_s)).sum())
        for start_s in [results.start_s]
        for row, own_s in enumerate(results.start_s)
    ]
    assert max(passes) == 3


def test_a_machine_failure_hits_the_jobs_of_its_group_only():
    outage = MachineOutage(machine=3, start_s=2000.0, end_s=4000.0)
    config = CLUSTER.model_copy(update={"faults": Faults(outages=(outage,))})
    simulator = ClusterSimulator(config, gpu_jobs(150, gap_s=30.0), decide="group")
    running, hosts = simulator.state.running.by_row, {}
    point = simulator.advance()
    while point is not None:
        simulator.apply(int(np.flatnonzero(point.action_mask)[-1]))
        if point.now_s < 2000.0:
            hosts[point.item] = simulator.pool.machines_of(running[point.item].allocation)
        point = simulator.advance()
    results = simulator.results()
    again = np.flatnonzero(results.attempts > 1).tolist()
    assert again
    assert all(3 in hosts[row] for row in again)
    assert (results.status == FINISHED).all()


def test_a_task_larger_than_the_machines_of_a_group_is_split_there():
    groups = pool()
    assert groups.groups_that_fit(gang(1, 8)).all()
    assert groups.machines_of(groups.place_in_group(gang(1, 8), 0)) == (0, 1)
    assert groups.machines_of(groups.place_in_group(gang(1, 8), 2)) == (5, 6, 7, 8)


def test_what_does_not_go_with_groups_is_refused():
    with pytest.raises(HandrailError, match="needs a cluster with groups"):
        ClusterSimulator(ClusterConfig(processors=64), processor_jobs(), decide="group")
    with pytest.raises(HandrailError, match="backfill none or easy"):
        ClusterSimulator(CLUSTER.model_copy(update={"backfill": "conservative"}), gpu_jobs(), decide="group")
