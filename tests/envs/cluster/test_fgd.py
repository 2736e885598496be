"""FGD and fragmentation against cases worked out by hand."""

from __future__ import annotations

import copy
from math import exp, floor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_machines import TYPES, demands, mixed

from handrail.envs.cluster.config import MachineGroup
from handrail.envs.cluster.demand import Demand
from handrail.envs.cluster.fragmentation import TypicalTasks
from handrail.envs.cluster.machine_pool import MachinePool
from handrail.envs.cluster.machine_task import Task

WHOLE, SHARE, CPU_ONLY = Demand(1, 1000, 4000), Demand(1, 600, 2000), Demand(1, 0, 1000)
TYPICAL = [WHOLE, SHARE, SHARE, CPU_ONLY]


def two_machines(placement: str = "fgd", cpu_milli: int = 8000) -> MachinePool:
    """Machine 0 with one GPU, machine 1 with two."""
    groups = (
        MachineGroup(machines=1, gpus=1, cpu_milli=cpu_milli),
        MachineGroup(machines=1, gpus=2, cpu_milli=cpu_milli),
    )
    return MachinePool(groups, placement, typical=TYPICAL)


def sigmoid_percent(gain: float) -> int:
    return floor(100 / (1 + exp(-gain)))


def test_fragmentation_by_hand():
    pool = two_machines()
    # Untouched, only the task without GPUs cannot use a GPU: a quarter of all that is free.
    assert pool.fragmentation() == 0.25
    pool.place(Demand(1, 500, 7000))
    # Machine 0 has 500 on its GPU and 1 processor: no typical task with a GPU fits, so F = 500. Machine 1: 2000 / 4.
    assert pool.fragmentation() == (500 + 500) / 2500


def test_fragment_of_a_share_is_what_lies_on_too_full_gpus():
    pool = two_machines("first-fit")
    pool.place(Demand(1, 1000, 1000))
    pool.place(Demand(1, 500, 1000))
    # Machine 1 has 500 and 1000 free: whole and share tasks leave the 500, the task without GPUs all 1500.
    assert pool.fragmentation() == (500 + 500 + 500 + 1500) / 4 / 1500


def test_choice_by_hand():
    """A task for 400 of a GPU: where does F grow least?

    On machine 0, F goes from 1000 / 4 = 250 to 600: whole 600, share 0 twice, none 600, over 4 = 300: gain -0.05.
    On machine 1, F goes from 2000 / 4 = 500 to whole 600, share 0 twice, none 1600, over 4 = 550: gain -0.05.
    The scores tie, and the first machine gets it.
    """
    pool = two_machines()
    scores = pool.placement.scores(pool._machines, pool._task(Demand(1, 400)))
    assert scores.tolist() == [sigmoid_percent(-0.05)] * 2 == [48, 48]
    pieces = pool.place(Demand(1, 400))
    assert pool.machines_of(pieces) == (0,)
    # Now 600 is free on machine 0. Another 400 leaves 200 there, no use to any: F from 300 to 200, gain +0.1.
    scores = pool.placement.scores(pool._machines, pool._task(Demand(1, 400)))
    assert scores.tolist() == [sigmoid_percent(0.1), 48]
    # A task for 600 takes the rest: F from 300 to 0.
    assert pool.placement.scores(pool._machines, pool._task(SHARE)).tolist()[0] == sigmoid_percent(0.3)


def test_share_goes_on_the_gpu_with_the_best_score():
    pool = MachinePool((MachineGroup(machines=1, gpus=2, cpu_milli=64_000),), "fgd", typical=TYPICAL)
    first = pool.place(Demand(1, 500))
    # On the used GPU, 500 of fragment go; on the other, another 500 come.
    second = pool.place(Demand(1, 500))
    assert [pieces[0].gpus for pieces in (first, second)] == [1, 1]


@settings(max_examples=60, deadline=None)
@given(groups=mixed(), jobs=st.lists(st.tuples(demands(), st.booleans()), min_size=8, max_size=40))
def test_kept_scores_are_those_worked_out_anew(groups, jobs):
    pool = MachinePool(groups, "fgd", gpu_types=TYPES, typical=TYPICAL)
    kept = []
    for i, (job, release) in enumerate(jobs):
        task = pool._task(job)
        machines = pool._machines
        feasible = machines.feasible(task)
        if feasible.any():
            scores = np.where(feasible, pool.placement.scores(machines, task), -1)
            assert pool.placement.choose(machines, task, feasible) == scores.argmax()
        if release and kept:
            pool.release(kept.pop(0))
        elif i % 7 == 3:
            (pool.set_down if machines.up[0] else pool.set_up)(0)
        elif (pieces := pool.place(job)) is not None:
            kept.append(pieces)


def test_typical_tasks_cover_95_per_cent_most_frequent_first():
    def task(gpus: int) -> Task:
        return Task(1, gpus, 1000, 0, 0, 0)

    typical = TypicalTasks([task(1)] * 60 + [task(2)] * 34 + [task(4)] * 5 + [task(8)])
    assert typical.gpus.tolist() == [1, 2, 4]
    assert typical.count.tolist() == [60, 34, 5]
    assert typical.weight == 99


def test_typical_tasks_are_learnt_from_what_was_placed():
    """The jobs to come leave no trace in fragmentation; those placed do."""
    pool = MachinePool((MachineGroup(machines=2, gpus=4),), "fgd")
    assert pool.fragmentation() == 0
    pool.place(Demand(1, 1000))
    assert pool.fragmentation() == 0
    pool.place(Demand(1, 4000))
    # Typical: 1 and 4 GPUs, once each. Three GPUs are free on one machine: fragment to one of the two.
    assert pool.fragmentation() == 0.5
    assert pool.place(Demand(1, 4000)) is None
    assert pool.fragmentation() == 0.5


def test_a_copy_learns_on_its_own():
    pool = MachinePool((MachineGroup(machines=2, gpus=4),), "fgd")
    pool.place(Demand(1, 1000))
    twin = copy.deepcopy(pool)
    twin.place(Demand(1, 4000))
    assert (pool.fragmentation(), twin.fragmentation()) == (0, 0.5)
