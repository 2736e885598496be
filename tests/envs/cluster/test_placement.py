"""Placement policies against scans of plain machines, on cluster states that jobs have left behind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_machines import TYPES, NaivePlacement, alike, demands, mixed, naive_machines

from handrail.envs.cluster.config import PLACEMENTS as CONFIG_PLACEMENTS
from handrail.envs.cluster.config import MachineGroup
from handrail.envs.cluster.demand import Demand
from handrail.envs.cluster.machine_columns import MachineColumns
from handrail.envs.cluster.machine_index import lowest_bits
from handrail.envs.cluster.machine_pool import MachinePool
from handrail.envs.cluster.machine_set import BLOCK, MachineSet, nth_bit, nth_of
from handrail.envs.cluster.machine_task import Task
from handrail.envs.cluster.placement import PLACEMENTS, Placement

TYPICAL = [Demand(1, 1000, 2000), Demand(1, 300, 1000), Demand(1, 700, 6000, 0, 1), Demand(1, 2000), Demand(1, 0, 1000)]
SCANNED = [name for name in PLACEMENTS if name != "random"]


def scan_and_pool_agree(groups: tuple[MachineGroup, ...], name: str, jobs: list[tuple[Demand, bool]]) -> None:
    """Place each job; then release it at once, or keep it."""
    pool = MachinePool(groups, name, gpu_types=TYPES, typical=TYPICAL)
    machines = naive_machines(groups)
    scan = NaivePlacement(
        name,
        TYPICAL,
        most_gpus=max(group.gpus for group in groups),
        most_cpu=max(group.cpu_milli or 0 for group in groups),
    )
    kept = []
    for job, keep in jobs:
        job = job._replace(tasks=1)
        pieces = pool.place(job)
        now = [machine.used_by(kept, number) for number, machine in enumerate(machines)]
        if pieces is None:
            assert not any(machine.hosts(job) for machine in now)
            continue
        machine, gpu = scan.choose(now, job)
        assert pieces[0].machine == machine
        if gpu is not None:
            assert pieces[0].gpus == 1 << gpu
        if keep:
            kept.append(pieces)
        else:
            pool.release(pieces)
    if name == "fgd":
        now = [machine.used_by(kept, number) for number, machine in enumerate(machines)]
        free = sum(sum(machine.gpus) for machine in now)
        fragment = sum(scan.fragment(machine) for machine in now)
        assert pool.fragmentation() == pytest.approx(fragment / free if free else 0, abs=1e-12)


@pytest.mark.parametrize("name", SCANNED)
@settings(max_examples=60, deadline=None)
@given(groups=mixed(), jobs=st.lists(st.tuples(demands(), st.booleans()), min_size=5, max_size=25))
def test_placement_on_mixed_machines_is_the_scan(name, groups, jobs):
    scan_and_pool_agree(groups, name, jobs)


@pytest.mark.parametrize("name", SCANNED)
@settings(max_examples=40, deadline=None)
@given(
    groups=alike(),
    jobs=st.lists(st.tuples(demands(shares=False, limits=False), st.booleans()), min_size=5, max_size=25),
)
def test_placement_through_the_index_is_the_scan(name, groups, jobs):
    scan_and_pool_agree(groups, name, jobs)


def test_names_are_the_configs():
    assert tuple(PLACEMENTS) == CONFIG_PLACEMENTS


def test_the_example_of_the_docs_places():
    text = (Path(__file__).parents[3] / "docs" / "placements.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"Placement": Placement, "MachineColumns": MachineColumns, "Task": Task, "NDArray": np.ndarray, "np": np}
    exec(example, names)
    pool = MachinePool((MachineGroup(machines=1, gpus=8), MachineGroup(machines=1, gpus=2)))
    pool.placement = names["FewestGPUs"]()
    assert [pool.machines_of(pool.place(Demand(1, 2000))) for _ in range(2)] == [(1,), (0,)]


def gpus_of_choices(pool: MachinePool, demand: Demand, times: int) -> list[tuple[int, int]]:
    choices = []
    for _ in range(times):
        pieces = pool.place(demand)
        assert pieces is not None
        choices.append((pieces[0].machine, pieces[0].gpus.bit_length() - 1))
        pool.release(pieces)
    return choices


@pytest.mark.parametrize("cpu_milli", [None, 64_000], ids=["index", "columns"])
def test_random_is_uniform_over_machines_that_have_room(cpu_milli):
    pool = MachinePool((MachineGroup(machines=6, gpus=4, cpu_milli=cpu_milli),), "random", seed=5)
    full = [pool.place(Demand(1, 4000)) for _ in range(2)]
    taken = {piece.machine for pieces in full for piece in pieces}
    machines = [machine for machine, _ in gpus_of_choices(pool, Demand(1, 1000), 2000)]
    counts = np.bincount(machines, minlength=6)
    assert {machine for machine in range(6) if counts[machine] == 0} == taken
    # Chi square with 3 degrees of freedom: above 16.3 once in a thousand seeds.
    open_counts = counts[counts > 0]
    assert ((open_counts - 500) ** 2 / 500).sum() < 16.3


def test_random_is_uniform_over_gpus_that_have_room():
    pool = MachinePool((MachineGroup(machines=1, gpus=4),), "random", seed=7)
    pool.place(Demand(1, 700))
    gpus = [gpu for _, gpu in gpus_of_choices(pool, Demand(1, 500), 1500)]
    counts = np.bincount(gpus, minlength=4)
    assert (counts == 0).sum() == 1
    assert ((counts[counts > 0] - 500) ** 2 / 500).sum() < 13.8


def test_random_repeats_with_its_seed_and_changes_with_it():
    def choices(seed: int) -> list[tuple[int, int]]:
        return gpus_of_choices(MachinePool((MachineGroup(machines=50),), "random", seed), Demand(1, 1000), 20)

    assert choices(1) == choices(1)
    assert choices(1) != choices(2)


@given(mask=st.integers(1, 1 << 200), data=st.data())
def test_bit_selection(mask, data):
    positions = [position for position in range(mask.bit_length()) if mask >> position & 1]
    n = data.draw(st.integers(0, len(positions) - 1))
    assert nth_bit(mask, n) == positions[n]
    assert lowest_bits(mask, n) == sum(1 << position for position in positions[:n])


NEAR_BLOCKS = st.integers(0, 20) | st.integers(BLOCK - 5, BLOCK + 5) | st.integers(2 * BLOCK - 2, 2 * BLOCK + 2)


@given(flips=st.lists(NEAR_BLOCKS, max_size=60))
def test_machine_set_is_a_set(flips):
    machines, plain = MachineSet(3 * BLOCK - 1), set()
    for machine in flips:
        (machines.remove if machine in plain else machines.add)(machine)
        plain ^= {machine}
        assert machines.count == len(plain)
        assert not plain or machines.lowest() == min(plain)
    assert list(machines) == sorted(plain)


@given(members=st.sets(NEAR_BLOCKS, min_size=1), data=st.data())
def test_nth_of_disjoint_sets(members, data):
    sets = [MachineSet(3 * BLOCK) for _ in range(3)]
    for machine in members:
        sets[data.draw(st.integers(0, 2))].add(machine)
    n = data.draw(st.integers(0, len(members) - 1))
    assert nth_of(sets, n) == sorted(members)[n]
