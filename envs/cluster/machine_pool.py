"""Machines with GPUs, processors and memory, and a policy that says which of them a job gets.

Two ways to keep what is free: `machine_index` where machines are alike, never short of processors or memory, and only
whole GPUs are asked for; `machine_columns` for all else. Both give the same placements; a pool starts with the index
where it can and turns to columns at the first demand for a share of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from operator import mul
from typing import Self

import numpy as np

from ...traces.errors import HandrailError
from .config import MachineGroup
from .demand import MILLI, Demand
from .fragmentation import FragmentMeter, TypicalTasks
from .machine_columns import MachineColumns
from .machine_index import MAX_GPUS, MachineIndex
from .machine_reservation import MachineReservation, reserve_columns, reserve_indexed
from .machine_task import Piece, Pieces, Task, TaskShapes, type_bit
from .placement import make_placement
from .pool import Release, ResourcePool


class MachinePool(ResourcePool):
    """Machines in groups, numbered through in the order given.

    Tasks of a gang are placed one after another, all or none; several may share a machine. A task with more GPUs than
    any machine is split (`machine_task.TaskShapes`). An allocation is a tuple of `machine_task.Piece`, one a task.

    Args:
        groups: The machines.
        placement: Name of the placement policy, one of `placement.PLACEMENTS`.
        seed: Seed of the random choices of the policy.
        gpu_types: GPU models, in the order of the bits of ``Demand.types``.
        typical: Demands that stand for the workload, for FGD and `fragmentation`; None: learn from what is placed.

    Raises:
        HandrailError: ``placement`` is unknown, or the machines have neither GPUs nor a number of processors.
    """

    def __init__(
        self,
        groups: Sequence[MachineGroup],
        placement: str = "best-fit",
        seed: int | np.random.SeedSequence = 0,
        *,
        gpu_types: Sequence[str] = (),
        typical: Iterable[Demand] | None = None,
    ) -> None:
        self._groups = tuple(groups)
        self._gpu_types = tuple(gpu_types)
        self._shapes = TaskShapes(self._groups, self._gpu_types)
        self._typical = TypicalTasks(None if typical is None else map(self._shapes.task, typical))
        self._meter = FragmentMeter(self._typical)
        self._levels_version = -1
        self._by_level: list[int] = []  # fragment of a machine with that many GPUs free
        self.placement = make_placement(placement, np.random.default_rng(seed), self._meter)
        self._speeds = [group.speed for group in self._groups for _ in range(group.machines)]
        self._has_gpus = any(group.gpus for group in self._groups)
        if not self._has_gpus and any(group.cpu_milli is None for group in self._groups):
            raise HandrailError("cluster config: groups: machines without GPUs need cpu_milli")
        self.n_machines = len(self._speeds)
        self._machines: MachineIndex | MachineColumns = self._index() or MachineColumns(self._groups, self._gpu_types)
        self.size = self._machines.free_milli / MILLI

    def fork(self) -> Self:
        twin = copy(self)
        twin._machines = self._machines.fork()
        twin._typical = self._typical.fork()
        twin._meter = self._meter.fork(twin._typical, self._machines, twin._machines)
        twin.placement = self.placement.fork(twin._meter)
        return twin

    def reseed(self, rng: np.random.Generator) -> None:
        self.placement.reseed(rng)

    def _index(self) -> MachineIndex | None:
        first = self._groups[0]
        alike = all(
            group.cpu_milli is None
            and group.memory_mib is None
            and (group.gpus, group.gpu_type) == (first.gpus, first.gpu_type)
            for group in self._groups
        )
        if not alike or not 0 < first.gpus <= MAX_GPUS:
            return None
        return MachineIndex(self.n_machines, first.gpus, type_bit(first, self._gpu_types))

    def _task(self, demand: Demand) -> Task:
        task = self._shapes.task(demand)
        if 0 < task.milli < MILLI and isinstance(self._machines, MachineIndex):
            self._machines = self._as_columns(self._machines)
        return task

    def _as_columns(self, index: MachineIndex) -> MachineColumns:
        columns = MachineColumns(self._groups, self._gpu_types)
        everything = (1 << index.gpus) - 1
        for machine in range(index.n):
            if index.free[machine] < index.gpus:
                columns.take((Piece(machine, everything ^ index.free_mask(machine), MILLI, 0, 0),))
            columns.set_up(machine, bool(index.up[machine]))
        return columns

    @property
    def free_size(self) -> float:  # type: ignore[override]
        """GPUs (processors where there are no GPUs) that are free on machines that are up."""
        return self._machines.free_milli / MILLI

    def can_ever_fit(self, demand: Demand) -> bool:
        return self._shapes.fit_empty(self._shapes.task(demand))

    def fits(self, demand: Demand, spare: MachineReservation | None = None) -> bool:
        """Whether it fits now; with ``spare``, on what that reservation leaves over."""
        task = self._task(demand)
        machines = self._machines
        if spare is None or not spare.held:
            return machines.fits(task)
        if not machines.fits(task):
            return False
        machines.take(spare.held)
        fits = machines.fits(task)
        machines.release(spare.held)
        return fits

    def which_fit(self, demands: Iterable[Demand], spare: MachineReservation) -> list[bool]:
        """Which of several demands fit, each alone, on what a reservation leaves over."""
        tasks = [self._task(demand) for demand in demands]
        machines = self._machines
        machines.take(spare.held)
        fits = [machines.fits(task) for task in tasks]
        machines.release(spare.held)
        return fits

    def place(self, demand: Demand, spare: MachineReservation | None = None) -> Pieces | None:  # type: ignore[override]
        task = self._task(demand)
        machines = self._machines
        if not machines.fits(task):
            return None
        held = spare.held if spare is not None else ()
        if held:
            machines.take(held)
        allocation = machines.place(task, self.placement) if not held or machines.fits(task) else None
        if held:
            machines.release(held)
        if allocation is not None:
            self._typical.note(task)
        return allocation

    def release(self, allocation: Pieces) -> None:
        self._machines.release(allocation)

    def reserve(self, demand: Demand, now_s: float, releases: Sequence[Release]) -> MachineReservation:
        task = self._task(demand)
        machines = self._machines
        if isinstance(machines, MachineIndex):
            found = reserve_indexed(machines, task, now_s, releases)
        else:
            found = reserve_columns(machines, task, now_s, releases)
        return MachineReservation(self, *found)

    def machines_of(self, allocation: Pieces) -> tuple[int, ...]:
        if len(allocation) == 1:
            return (allocation[0].machine,)
        return tuple(dict.fromkeys(piece.machine for piece in allocation))

    def speed(self, allocation: Pieces) -> float:
        return min(self._speeds[piece.machine] for piece in allocation)

    def speed_slowed(self, allocation: Pieces, factor_of: Mapping[int, float]) -> float:
        return min(self._speeds[piece.machine] / factor_of.get(piece.machine, 1.0) for piece in allocation)

    def set_down(self, machine: int) -> None:
        self._machines.set_up(machine, False)

    def set_up(self, machine: int) -> None:
        self._machines.set_up(machine, True)

    def fragmentation(self) -> float:
        machines = self._machines
        if not self._has_gpus or machines.free_milli == 0 or self._typical.weight == 0:
            return 0.0
        if isinstance(machines, MachineIndex):
            if self._levels_version != self._typical.version:
                self._levels_version = self._typical.version
                self._by_level = self._meter.fragment(machines.level_table).tolist()
            fragment = sum(map(mul, [level.count for level in machines.levels], self._by_level))
        else:
            fragment = int(self._meter.fragment(machines)[machines.up].sum())
        return fragment / (self._typical.weight * machines.free_milli)
