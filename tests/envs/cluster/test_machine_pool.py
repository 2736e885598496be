"""Machine pools: nothing is lost or given twice, gangs go whole, and reservations hold."""

from __future__ import annotations

import copy
from math import inf

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from naive_machines import TYPES, NaiveMachine, alike, demands, mixed, naive_machines

from handrail.envs.cluster.config import MachineGroup
from handrail.envs.cluster.demand import Demand
from handrail.envs.cluster.machine_pool import MachinePool
from handrail.envs.cluster.machine_task import Pieces
from handrail.envs.cluster.placement import PLACEMENTS
from handrail.traces.errors import HandrailError

SHARE = Demand(1, 500)
PLACES = st.sampled_from(list(PLACEMENTS))


def philly(machines: int, gpus: int = 8, placement: str = "best-fit") -> MachinePool:
    return MachinePool((MachineGroup(machines=machines, gpus=gpus),), placement)


class Ledger:
    """A pool, and beside it the naive machines and what runs."""

    def __init__(self, groups: tuple[MachineGroup, ...], placement: str, *, shared: bool = False) -> None:
        self.pool = MachinePool(groups, placement, seed=3, gpu_types=TYPES)
        if shared:
            self.pool.fits(SHARE)  # turns the index into columns
        self.empty = naive_machines(groups)
        self.running: list[Pieces] = []

    def now(self) -> list[NaiveMachine]:
        return [machine.used_by(self.running, number) for number, machine in enumerate(self.empty)]

    def place(self, demand: Demand) -> None:
        possible = sum(machine.count(demand) for machine in self.now()) >= demand.tasks
        before = self.pool.free_size
        assert self.pool.fits(demand) == possible
        pieces = self.pool.place(demand)
        assert (pieces is not None) == possible
        if pieces is None:
            assert self.pool.free_size == before
            return
        assert len(pieces) == demand.tasks
        for piece in pieces:
            machine = self.empty[piece.machine]
            assert machine.up
            assert not demand.gpu_milli or not demand.types or machine.bit & demand.types
            assert piece.milli * piece.gpus.bit_count() == demand.gpu_milli or demand.gpu_milli == 0
        self.running.append(pieces)

    def release(self, which: int) -> None:
        if self.running:
            self.pool.release(self.running.pop(which % len(self.running)))

    def turn(self, which: int) -> None:
        machine = which % len(self.empty)
        self.empty[machine].up = not self.empty[machine].up
        (self.pool.set_up if self.empty[machine].up else self.pool.set_down)(machine)

    def check(self) -> None:
        now = self.now()
        for machine in now:
            assert machine.cpu >= 0
            assert machine.memory >= 0
            assert all(0 <= free <= 1000 for free in machine.gpus)
        assert self.pool.free_size == sum(sum(machine.gpus) for machine in now if machine.up) / 1000
        assert 0 <= self.pool.fragmentation() <= 1


def program(jobs: st.SearchStrategy[Demand]) -> st.SearchStrategy[list[tuple[str, object]]]:
    step = (
        st.tuples(st.just("place"), jobs)
        | st.tuples(st.just("release"), st.integers(0, 50))
        | st.tuples(st.just("turn"), st.integers(0, 50))
    )
    return st.lists(step, min_size=8, max_size=40)


def run(ledger: Ledger, steps: list[tuple[str, object]]) -> None:
    for kind, argument in steps:
        getattr(ledger, kind)(argument)
        ledger.check()
    while ledger.running:
        ledger.release(-1)
    for number, machine in enumerate(ledger.empty):
        if not machine.up:
            ledger.turn(number)
    assert ledger.pool.free_size == ledger.pool.size


@settings(max_examples=120, deadline=None)
@given(groups=alike(), placement=PLACES, steps=program(demands(shares=False, limits=False)), shared=st.booleans())
def test_conservation_where_machines_are_alike(groups, placement, steps, shared):
    run(Ledger(groups, placement, shared=shared), steps)


@settings(max_examples=150, deadline=None)
@given(groups=mixed(), placement=PLACES, steps=program(demands()))
def test_conservation_where_machines_differ(groups, placement, steps):
    run(Ledger(groups, placement), steps)


@settings(max_examples=60, deadline=None)
@given(groups=alike(), steps=program(demands(limits=False)))
def test_conservation_across_the_first_share(groups, steps):
    """What the index gave is given back to the columns that took its place."""
    run(Ledger(groups, "best-fit"), [("place", Demand(2, 3000)), ("turn", 0), *steps])


@settings(max_examples=100, deadline=None)
@given(groups=alike(), placement=PLACES, steps=program(demands(shares=False, limits=False)))
def test_index_and_columns_place_alike(groups, placement, steps):
    index, columns = Ledger(groups, placement), Ledger(groups, placement, shared=True)
    for kind, argument in steps:
        getattr(index, kind)(argument)
        getattr(columns, kind)(argument)
        assert index.running == columns.running
        assert index.pool.fragmentation() == columns.pool.fragmentation()


@settings(max_examples=60, deadline=None)
@given(groups=mixed(), jobs=st.lists(demands(), max_size=8))
def test_release_restores_exactly(groups, jobs):
    pool = MachinePool(groups, "worst-fit", gpu_types=TYPES)
    fresh = [pool.place(job) for job in jobs]
    for pieces in fresh:
        if pieces is not None:
            pool.release(pieces)
    assert [pool.place(job) for job in jobs] == fresh


@settings(max_examples=60, deadline=None)
@given(groups=mixed(), job=demands())
def test_can_ever_fit_is_fits_on_the_empty_cluster(groups, job):
    pool = MachinePool(groups, gpu_types=TYPES)
    assert pool.can_ever_fit(job) == pool.fits(job)
    for machine in range(pool.n_machines):
        pool.set_down(machine)
    assert not pool.fits(job)
    assert pool.can_ever_fit(job) == MachinePool(groups, gpu_types=TYPES).fits(job)


@pytest.mark.parametrize(("gpus", "parts"), [(16, (8, 8)), (12, (6, 6)), (9, (3, 3, 3)), (24, (8, 8, 8)), (8, (8,))])
def test_jobs_larger_than_a_machine_are_split_evenly(gpus, parts):
    pool = philly(4)
    pieces = pool.place(Demand(1, 1000 * gpus))
    assert pieces is not None
    assert tuple(piece.gpus.bit_count() for piece in pieces) == parts


def test_a_prime_number_of_gpus_is_split_into_single_ones():
    assert philly(2).can_ever_fit(Demand(1, 11_000))
    assert not philly(2).can_ever_fit(Demand(1, 17_000))


def test_split_divides_processors_and_memory_too():
    pool = MachinePool((MachineGroup(machines=2, gpus=4, cpu_milli=8000, memory_mib=1000),))
    pieces = pool.place(Demand(1, 8000, 15_001, 2000))
    assert pieces is not None
    assert [(piece.cpu_milli, piece.memory_mib) for piece in pieces] == [(7501, 1000)] * 2


def test_size_counts_gpus_and_processors_where_there_are_none():
    assert philly(3).size == 24
    pool = MachinePool((MachineGroup(machines=3, gpus=0, cpu_milli=4000),))
    assert pool.size == 12
    assert pool.place(Demand(5, 0, 2000)) is not None
    assert pool.free_size == 2
    assert not pool.fits(Demand(2, 0, 2000))
    assert pool.fragmentation() == 0


def test_machines_without_gpus_and_processors_are_refused():
    with pytest.raises(HandrailError, match="need cpu_milli"):
        MachinePool((MachineGroup(gpus=0, machines=2),))


def test_unknown_placement_is_refused():
    with pytest.raises(HandrailError, match="no 'best'; use one of random"):
        philly(1, placement="best")


def test_speed_is_the_slowest_machines_and_machines_come_once():
    groups = (MachineGroup(machines=1, gpus=2, speed=2.0), MachineGroup(machines=1, gpus=2, speed=0.5))
    pool = MachinePool(groups, "first-fit")
    gang = pool.place(Demand(3, 1000))
    assert pool.machines_of(gang) == (0, 1)
    assert pool.speed(gang) == 0.5
    pool.release(gang)
    single = pool.place(Demand(2, 1000))
    assert pool.machines_of(single) == (0,)
    assert pool.speed(single) == 2.0


def test_release_on_a_down_machine_frees_nothing_until_it_is_up():
    pool = philly(2, placement="first-fit")
    job = pool.place(Demand(1, 5000))
    pool.set_down(0)
    assert pool.free_size == 8
    pool.release(job)
    assert pool.free_size == 8
    assert not pool.fits(Demand(2, 8000))
    pool.set_up(0)
    pool.set_up(0)
    assert pool.free_size == 16
    assert pool.fits(Demand(2, 8000))


def test_a_copy_goes_its_own_way():
    pool = philly(20, placement="random")
    jobs = [pool.place(Demand(1, 2000)) for _ in range(30)]
    twin = copy.deepcopy(pool)
    ahead = [pool.place(Demand(1, 1000)) for _ in range(10)]
    assert [twin.place(Demand(1, 1000)) for _ in range(10)] == ahead
    pool.release(jobs[0])
    assert pool.free_size == twin.free_size + 2


# Reservations


def brute_force_start(pool: MachinePool, demand: Demand, releases: list[tuple[float, Pieces]]) -> float:
    pool = copy.deepcopy(pool)
    if pool.fits(demand):
        return 0.0
    for i, (end_s, pieces) in enumerate(releases):
        pool.release(pieces)
        if (i + 1 == len(releases) or releases[i + 1][0] > end_s) and pool.fits(demand):
            return end_s
    return inf


def running_pool(groups, placement, jobs, ends) -> tuple[MachinePool, list[tuple[float, Pieces]]]:
    pool = MachinePool(groups, placement, seed=1, gpu_types=TYPES)
    placed = [(end_s, pool.place(job)) for end_s, job in zip(ends, jobs, strict=False)]
    return pool, sorted(((end_s, pieces) for end_s, pieces in placed if pieces is not None), key=lambda it: it[0])


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    placement=PLACES,
    ends=st.lists(st.integers(1, 6).map(float), min_size=14, max_size=14),
    end_s=st.integers(1, 9).map(float),
)
def test_reservation_against_brute_force(data, placement, ends, end_s):
    groups = data.draw(alike() | mixed())
    whole = len(groups) == 1
    job = demands(shares=not whole, limits=not whole)
    jobs = data.draw(st.lists(job, min_size=4, max_size=14))
    pool, releases = running_pool(groups, placement, jobs, ends)
    if data.draw(st.booleans()):
        pool.set_down(0)
    head, other = data.draw(job), data.draw(job)
    free = pool.free_size
    reservation = pool.reserve(head, 0.0, releases)
    assert reservation.at_s == brute_force_start(pool, head, releases)
    assert pool.free_size == free
    beside = reservation.fits_beside(other)
    assert pool.free_size == free
    assert not beside or pool.fits(other)
    delay_s = reservation.delay_s(other, end_s)
    event(f"at {'now' if reservation.at_s == 0 else 'never' if reservation.at_s == inf else 'later'}, beside {beside}")
    if end_s <= reservation.at_s or beside:
        assert delay_s == 0
    if not pool.fits(other):
        return
    # Started where the reservation leaves room, it costs nothing however long it runs; elsewhere at most ``delay_s``.
    twin = copy.deepcopy(pool)
    pieces = twin.place(other, spare=reservation) if beside else twin.place(other)
    assert pieces is not None
    later = sorted([*releases, (inf if beside else end_s, pieces)], key=lambda it: it[0])
    assert brute_force_start(twin, head, later) <= reservation.at_s + delay_s
    if not beside:
        assert pool.place(other, spare=reservation) is None
        assert pool.free_size == free


def test_reservation_names_its_machines_and_leaves_the_rest():
    pool = philly(2, placement="first-fit")
    long, short = pool.place(Demand(1, 6000)), pool.place(Demand(1, 7000))
    reservation = pool.reserve(Demand(1, 8000), 0.0, [(10.0, short), (50.0, long)])
    assert (reservation.at_s, reservation.machines) == (10.0, (1,))
    # Machine 1 has one GPU free now, which the reservation needs; machine 0 has two, which it does not.
    assert reservation.fits_beside(Demand(1, 2000))
    assert not reservation.fits_beside(Demand(3, 1000))
    assert reservation.delay_s(Demand(3, 1000), 9.0) == 0
    assert reservation.delay_s(Demand(3, 1000), 25.0) == 15
    pieces = pool.place(Demand(2, 1000), spare=reservation)
    assert pieces is not None
    assert pool.machines_of(pieces) == (0,)


def test_reservation_that_can_never_be():
    pool = philly(1)
    reservation = pool.reserve(Demand(2, 8000), 5.0, [])
    assert (reservation.at_s, reservation.machines, reservation.delay_s(Demand(1, 1000), 1e9)) == (inf, (), 0.0)


def test_best_fit_fills_the_lowest_machines_of_a_large_cluster():
    pool = philly(20_000)
    pieces = [pool.place(Demand(1, 3000)) for _ in range(6)]
    assert [piece.machine for (piece,) in pieces] == [0, 0, 1, 1, 2, 2]
    assert pool.machines_of(pool.place(Demand(1, 2000))) == (0,)
    assert pool.size - pool.free_size == 20
