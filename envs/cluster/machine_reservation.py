"""When and where a job will start on machines: EASY's reservation where capacity is in pieces.

Running jobs are taken to end in the order of their expected ends, on a copy of what is free on the machines that they
leave; nothing else is copied or looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from .demand import MILLI, Demand
from .machine_columns import MachineColumns, bits_of
from .machine_index import MachineIndex, lowest_bits
from .machine_task import Piece, Pieces, Task
from .pool import Release, Reservation

if TYPE_CHECKING:
    from .machine_pool import MachinePool


class MachineReservation(Reservation):
    """A reservation on machines, true of the pool as it was when it was asked for.

    Attributes:
        at_s: See :class:`Reservation`.
        machines: The machines that the job would take then, lowest first; () if it never fits.
        held: What is free now and has to stay free for it.
    """

    __slots__ = ("_pool", "held", "machines")

    def __init__(self, pool: MachinePool, at_s: float, machines: tuple[int, ...], held: Pieces) -> None:
        self._pool = pool
        self.at_s = at_s
        self.machines = machines
        self.held = held

    def fits_beside(self, demand: Demand) -> bool:
        return self._pool.fits(demand, self)

    def delay_s(self, demand: Demand, end_s: float) -> float:
        if end_s <= self.at_s or self.fits_beside(demand):
            return 0.0
        return end_s - self.at_s


def reserve_indexed(
    index: MachineIndex, task: Task, now_s: float, releases: Sequence[Release]
) -> tuple[float, tuple[int, ...], Pieces]:
    """Start, machines and what must stay free now, on machines that are alike.

    Of the machines that can take a task at the start, those are taken first that lose least of what is free on them
    now, then the fullest, then the lowest.
    """
    missing = task.tasks - index.room(task)
    gpus = task.gpus
    if gpus == 0 or (task.types and not task.types & index.type_bit):
        return (now_s if missing <= 0 else inf), (), ()
    at_s = now_s
    free = index.free
    later: dict[int, int] = {}  # machine -> GPUs free at the start
    if missing > 0:
        at_s = inf
        up = index.up
        for end_s, pieces in releases:
            if end_s > at_s:
                break
            for piece in pieces:
                machine = piece[0]
                if up[machine]:
                    before = later[machine] if machine in later else free[machine]
                    after = later[machine] = before + piece[1].bit_count()
                    if after >= gpus:
                        missing -= after // gpus - before // gpus
            if missing <= 0:
                at_s = end_s
        if missing > 0:
            return inf, (), ()
    hosts = [
        (max(0, gpus - after + free[machine]), after, machine) for machine, after in later.items() if after >= gpus
    ]
    needed = task.tasks - sum(after // gpus for _, after, _ in hosts)
    # Other machines lose what they give, so they come last; fewer than ``tasks`` can take one unless the job fits now.
    for level in range(gpus, index.gpus + 1):
        if needed <= 0:
            break
        for machine in index.levels[level]:
            if needed <= 0:
                break
            if machine not in later:
                hosts.append((gpus, level, machine))
                needed -= level // gpus
    hosts.sort()
    held, machines = [], []
    needed = task.tasks
    for _, after, machine in hosts:
        if needed <= 0:
            break
        tasks = min(needed, after // gpus)
        needed -= tasks
        machines.append(machine)
        keep = free[machine] - (after - tasks * gpus)
        if keep > 0:
            held.append(Piece(machine, lowest_bits(index.free_mask(machine), keep), MILLI, 0, 0))
    return at_s, tuple(sorted(machines)), tuple(held)


class _Machine:
    """What is free on one machine, apart from the pool."""

    __slots__ = ("cpu_milli", "gpus", "memory_mib")

    def __init__(self, columns: MachineColumns, machine: int) -> None:
        self.cpu_milli = int(columns.cpu_free[machine])
        self.memory_mib = int(columns.memory_free[machine])
        self.gpus: list[int] = columns.gpu_free[machine].tolist()

    def give(self, piece: Piece) -> None:
        self.cpu_milli += piece.cpu_milli
        self.memory_mib += piece.memory_mib
        for gpu in bits_of(piece.gpus):
            self.gpus[gpu] += piece.milli

    def room(self, task: Task) -> int:
        room = task.tasks
        if task.milli == MILLI:
            room = min(room, self.gpus.count(MILLI) // task.gpus)
        elif task.milli:
            room = min(room, sum(free // task.milli for free in self.gpus))
        if task.cpu_milli:
            room = min(room, self.cpu_milli // task.cpu_milli)
        if task.memory_mib:
            room = min(room, self.memory_mib // task.memory_mib)
        return room

    def take(self, task: Task, now: list[int]) -> None:
        """Take one task, on the GPUs of which least is free ``now``."""
        self.cpu_milli -= task.cpu_milli
        self.memory_mib -= task.memory_mib
        suitable = [gpu for gpu, free in enumerate(self.gpus) if task.milli and free >= task.milli]
        for gpu in sorted(suitable, key=lambda gpu: (now[gpu], self.gpus[gpu], gpu))[: task.gpus]:
            self.gpus[gpu] -= task.milli


def reserve_columns(
    columns: MachineColumns, task: Task, now_s: float, releases: Sequence[Release]
) -> tuple[float, tuple[int, ...], Pieces]:
    """Start, machines and what must stay free now, on machines of any kind.

    Machines that can take the fewest tasks now are taken first, then the lowest.
    """
    room_now = columns.room(task)
    missing = task.tasks - int(room_now.sum())
    at_s = now_s
    later: dict[int, _Machine] = {}
    room: dict[int, int] = {}
    if missing > 0:
        at_s = inf
        allowed = columns.allowed(task).tolist()
        for end_s, pieces in releases:
            if end_s > at_s:
                break
            for piece in pieces:
                machine = piece.machine
                if not allowed[machine]:
                    continue
                state = later.get(machine)
                if state is None:
                    state = later[machine] = _Machine(columns, machine)
                    room[machine] = int(room_now[machine])
                state.give(piece)
                after = state.room(task)
                missing -= after - room[machine]
                room[machine] = after
            if missing <= 0:
                at_s = end_s
        if missing > 0:
            return inf, (), ()
    hosts = [machine for machine in later if room[machine]]
    for machine in np.flatnonzero(room_now).tolist():
        if machine not in later:
            room[machine] = int(room_now[machine])
            hosts.append(machine)
    hosts.sort(key=lambda machine: (int(room_now[machine]), machine))
    held: list[Piece] = []
    machines = []
    needed = task.tasks
    for machine in hosts:
        if needed <= 0:
            break
        tasks = min(needed, room[machine])
        needed -= tasks
        machines.append(machine)
        now = _Machine(columns, machine)
        state = later.get(machine) or _Machine(columns, machine)
        for _ in range(tasks):
            state.take(task, now.gpus)
        held.extend(_shortfall(machine, now, state))
    return at_s, tuple(sorted(machines)), tuple(held)


def _shortfall(machine: int, now: _Machine, later: _Machine) -> Iterable[Piece]:
    """What is free now beyond what will be free once the reserved job runs."""
    cpu_milli = max(0, now.cpu_milli - later.cpu_milli)
    memory_mib = max(0, now.memory_mib - later.memory_mib)
    if cpu_milli or memory_mib:
        yield Piece(machine, 0, 0, cpu_milli, memory_mib)
    for gpu, (free_now, free_later) in enumerate(zip(now.gpus, later.gpus, strict=True)):
        if free_now > free_later:
            yield Piece(machine, 1 << gpu, free_now - free_later, 0, 0)
