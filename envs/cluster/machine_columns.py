"""Machines of any kind as NumPy columns: GPUs that can be shared, processors, memory, GPU models.

Whole-GPU tasks take wholly free GPUs; a share goes on one GPU with enough of it free. Every question is answered for
all machines at once; `machine_index` is faster where machines are alike and only whole GPUs are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from .config import MachineGroup
from .demand import MILLI
from .machine_task import Piece, Pieces, Task, type_bit

if TYPE_CHECKING:
    from .placement.base import Placement

Ints = NDArray[np.int64]

NO_LIMIT = 1 << 60
"""Free amount of what a machine is never short of."""


class MachineColumns:
    """Free capacity of ``n`` machines, one row each.

    Attributes:
        gpu_free: (n, k) free thousandths of each GPU; 0 where a machine has fewer than k GPUs.
        gpu_total_free: (n,) their sum.
        whole_free: (n,) GPUs that are wholly free.
        largest_free: (n,) most thousandths free on one GPU.
        cpu_free, memory_free: (n,) free thousandths of processors and MiB; ``NO_LIMIT`` and less where unlimited.
        gpus, cpu_milli, memory_mib: (n,) what the machines have.
        cpu_scale: Thousandths of processors of the largest machine that can be short of them; 0 if none can.
        type_bits: (n,) bit of the GPU model in tasks' ``types``.
        up: (n,) whether the machine is in service.
        free_milli: Free GPU capacity of machines that are up, in thousandths; processors' if there are no GPUs.
    """

    def __init__(self, groups: Sequence[MachineGroup], gpu_types: Sequence[str]) -> None:
        counts = [group.machines for group in groups]

        def column(values: list[int]) -> Ints:
            return np.repeat(np.array(values, np.int64), counts)

        self.gpus = column([group.gpus for group in groups])
        self.cpu_milli = column([NO_LIMIT if group.cpu_milli is None else group.cpu_milli for group in groups])
        self.memory_mib = column([NO_LIMIT if group.memory_mib is None else group.memory_mib for group in groups])
        self.type_bits = column([type_bit(group, gpu_types) for group in groups])
        self.cpu_scale = max((group.cpu_milli or 0 for group in groups), default=0)
        self.n = len(self.gpus)
        width = int(self.gpus.max())
        self.gpu_free = np.where(np.arange(width) < self.gpus[:, None], MILLI, 0).astype(np.int64)
        self.gpu_total_free = self.gpus * MILLI
        self.whole_free = self.gpus.copy()
        self.largest_free = np.minimum(self.gpus, 1) * MILLI
        self.cpu_free = self.cpu_milli.copy()
        self.memory_free = self.memory_mib.copy()
        self.up = np.ones(self.n, np.bool_)
        self._counted = self.gpu_total_free if width else self.cpu_free
        self.free_milli = int(self._counted.sum())
        self.changed: list[int] = []
        self.epoch = 0

    def fork(self) -> Self:
        """Independent columns in the same state; what machines have is shared."""
        twin = copy(self)
        twin.gpu_free = self.gpu_free.copy()
        twin.gpu_total_free = self.gpu_total_free.copy()
        twin.whole_free = self.whole_free.copy()
        twin.largest_free = self.largest_free.copy()
        twin.cpu_free = self.cpu_free.copy()
        twin.memory_free = self.memory_free.copy()
        twin.up = self.up.copy()
        twin._counted = twin.gpu_total_free if self._counted is self.gpu_total_free else twin.cpu_free
        twin.changed = self.changed.copy()
        return twin

    def _touch(self, machine: int) -> None:
        if len(self.changed) > 4 * self.n:
            self.changed.clear()
            self.epoch += 1
        self.changed.append(machine)

    def allowed(self, task: Task) -> NDArray[np.bool_]:
        """(n,) machines that are up and of an allowed model."""
        return self.up if task.types == 0 else self.up & ((self.type_bits & task.types) != 0)

    def feasible(self, task: Task) -> NDArray[np.bool_]:
        """(n,) machines on which one task fits."""
        fits = self.allowed(task)
        if task.milli == MILLI:
            fits = fits & (self.whole_free >= task.gpus)
        elif task.milli:
            fits = fits & (self.largest_free >= task.milli)
        if task.cpu_milli:
            fits = fits & (self.cpu_free >= task.cpu_milli)
        if task.memory_mib:
            fits = fits & (self.memory_free >= task.memory_mib)
        return fits

    def room(self, task: Task) -> Ints:
        """(n,) how many of the tasks fit on each machine, at most ``task.tasks``."""
        room = np.where(self.allowed(task), task.tasks, 0)
        if task.milli == MILLI:
            room = np.minimum(room, self.whole_free // task.gpus)
        elif task.milli:
            room = np.minimum(room, (self.gpu_free // task.milli).sum(1))
        if task.cpu_milli:
            room = np.minimum(room, self.cpu_free // task.cpu_milli)
        if task.memory_mib:
            room = np.minimum(room, self.memory_free // task.memory_mib)
        return room

    def fits(self, task: Task) -> bool:
        """Whether all of the tasks fit now: which of the machines that suit a task get one does not matter."""
        if task.tasks == 1:
            return bool(self.feasible(task).any())
        return int(self.room(task).sum()) >= task.tasks

    def place(self, task: Task, placement: Placement) -> Pieces:
        """Place all of the tasks, one after another; the caller has seen that they fit."""
        pieces = []
        for _ in range(task.tasks):
            machine = placement.choose(self, task, self.feasible(task))
            piece = Piece(
                machine, self._gpus_for(task, machine, placement), task.milli, task.cpu_milli, task.memory_mib
            )
            self._change(piece, -1)
            pieces.append(piece)
        return tuple(pieces)

    def _gpus_for(self, task: Task, machine: int, placement: Placement) -> int:
        if task.milli == MILLI:
            whole = np.flatnonzero(self.gpu_free[machine] == MILLI)[: task.gpus]
            return sum(1 << gpu for gpu in whole.tolist())
        return 1 << placement.choose_gpu(self, task, machine) if task.milli else 0

    def take(self, pieces: Pieces) -> None:
        """Take given pieces."""
        for piece in pieces:
            self._change(piece, -1)

    def release(self, pieces: Pieces) -> None:
        """Give pieces back."""
        for piece in pieces:
            self._change(piece, 1)

    def _change(self, piece: Piece, sign: int) -> None:
        machine, gpus, milli, cpu_milli, memory_mib = piece
        before = self._counted[machine]
        self.cpu_free[machine] += sign * cpu_milli
        self.memory_free[machine] += sign * memory_mib
        if gpus:
            free = self.gpu_free[machine]
            for gpu in bits_of(gpus):
                free[gpu] += sign * milli
            values = free.tolist()
            self.gpu_total_free[machine] = sum(values)
            self.whole_free[machine] = values.count(MILLI)
            self.largest_free[machine] = max(values)
        if self.up[machine]:
            self.free_milli += int(self._counted[machine] - before)
        self._touch(machine)

    def set_up(self, machine: int, up: bool) -> None:
        """Take a machine out of service or put it back."""
        if bool(self.up[machine]) != up:
            self.up[machine] = up
            self.free_milli += int(self._counted[machine]) * (1 if up else -1)
            self._touch(machine)


class Changes:
    """A reader's mark in the record of changed machines."""

    def __init__(self) -> None:
        self._epoch = -1
        self._position = 0

    def fork(self) -> Changes:
        """A mark at the same place."""
        twin = Changes()
        twin._epoch, twin._position = self._epoch, self._position
        return twin

    def since_last(self, machines: MachineColumns) -> Ints:
        """Rows that have changed since the last call; all rows at the first."""
        position, self._position = self._position, len(machines.changed)
        if self._epoch != machines.epoch:
            self._epoch = machines.epoch
            return np.arange(machines.n)
        return np.unique(np.array(machines.changed[position:], np.int64))


def bits_of(mask: int) -> list[int]:
    """Positions of the set bits, rising."""
    positions = []
    while mask:
        lowest = mask & -mask
        positions.append(lowest.bit_length() - 1)
        mask ^= lowest
    return positions
