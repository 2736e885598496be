"""Machines that are alike and give whole GPUs only, indexed by how many GPUs they have free.

One set of machines for each number of free GPUs, whose lowest is found without looking at machines: a placement's cost
follows the number of GPUs in a machine, not the number of machines. Policies score machines by
what is free on them, so here they score each number of free GPUs once.
"""

from __future__ import annotations

from array import array
from copy import copy
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from .config import MachineGroup
from .demand import MILLI
from .machine_columns import MachineColumns
from .machine_set import MachineSet
from .machine_task import Piece, Pieces, Task

if TYPE_CHECKING:
    from .placement.base import Placement

MAX_GPUS = 62
"""Most GPUs of a machine that the index can hold (a signed 64-bit mask)."""


_count = attrgetter("count")


class MachineIndex:
    """``n`` machines with ``gpus`` GPUs each, never short of processors or memory, all of one GPU model.

    Attributes:
        free: Free GPUs of each machine.
        levels: For each number of free GPUs the machines that are up and have it.
        free_milli: Free GPU capacity of machines that are up, in thousandths.
        level_table: One machine a number of free GPUs, for policies to score.
    """

    def __init__(self, machines: int, gpus: int, type_bit: int) -> None:
        self.n = machines
        self.gpus = gpus
        self.type_bit = type_bit
        self.free = array("q", [gpus]) * machines
        self.levels = [MachineSet(machines) for _ in range(gpus + 1)]
        for machine in range(machines):
            self.levels[gpus].add(machine)
        self.up = bytearray(b"\1") * machines
        self.free_milli = machines * gpus * MILLI
        self.level_table = _level_table(gpus)
        self._masks = array("q", [(1 << gpus) - 1]) * machines
        self._orders: dict[int, list[list[int]]] = {}
        self._orders_version = -1

    def fork(self) -> Self:
        """An independent index in the same state."""
        twin = copy(self)
        twin.free = self.free[:]
        twin.levels = [level.fork() for level in self.levels]
        twin.up = self.up[:]
        twin._masks = self._masks[:]
        twin._orders = self._orders.copy()
        return twin

    def room(self, task: Task) -> int:
        """How many of the tasks fit now."""
        if task.types and not task.types & self.type_bit:
            return 0
        gpus = task.gpus
        if gpus == 0:
            return task.tasks if any(level.count for level in self.levels) else 0
        room = 0
        for free in range(gpus, self.gpus + 1):
            room += self.levels[free].count * (free // gpus)
        return room

    def fits(self, task: Task) -> bool:
        """Whether all of the tasks fit now."""
        if task.tasks == 1 and not task.types:
            return any(map(_count, self.levels[task.gpus :]))
        return self.room(task) >= task.tasks

    def place(self, task: Task, placement: Placement) -> Pieces:
        """Place all of the tasks, one after another; the caller has seen that they fit."""
        if task.tasks == 1:
            return (self._place_one(task.gpus, placement.choose_indexed(self, task)),)
        return tuple(self._place_one(task.gpus, placement.choose_indexed(self, task)) for _ in range(task.tasks))

    def _place_one(self, gpus: int, machine: int) -> Piece:
        taken = lowest_bits(self._masks[machine], gpus)
        if taken:
            self._set_mask(machine, self._masks[machine] ^ taken)
        return Piece(machine, taken, MILLI, 0, 0)

    def take(self, pieces: Pieces) -> None:
        """Take given pieces."""
        for piece in pieces:
            self._set_mask(piece.machine, self._masks[piece.machine] ^ piece.gpus)

    def release(self, pieces: Pieces) -> None:
        """Give pieces back."""
        for piece in pieces:
            self._set_mask(piece.machine, self._masks[piece.machine] | piece.gpus)

    def _set_mask(self, machine: int, mask: int) -> None:
        before = self.free[machine]
        after = mask.bit_count()
        self._masks[machine] = mask
        self.free[machine] = after
        if self.up[machine] and after != before:
            self.levels[before].remove(machine)
            self.levels[after].add(machine)
            self.free_milli += (after - before) * MILLI

    def set_up(self, machine: int, up: bool) -> None:
        """Take a machine out of service or put it back."""
        if bool(self.up[machine]) == up:
            return
        self.up[machine] = up
        free = self.free[machine]
        if up:
            self.levels[free].add(machine)
            self.free_milli += free * MILLI
        else:
            self.levels[free].remove(machine)
            self.free_milli -= free * MILLI

    def free_mask(self, machine: int) -> int:
        """The free GPUs of a machine, as a bit mask."""
        return self._masks[machine]

    def best(self, task: Task, placement: Placement) -> int:
        """The machine that ``placement`` scores highest, the lowest of those that tie."""
        if self._orders_version != placement.version:
            self._orders.clear()
            self._orders_version = placement.version
        order = self._orders.get(task.gpus)
        if order is None:
            order = self._orders[task.gpus] = self._order(task, placement)
        levels = self.levels
        for tied in order:
            lowest = min((levels[free].lowest() for free in tied if levels[free].count), default=-1)
            if lowest >= 0:
                return lowest
        raise ValueError(f"no machine has {task.gpus} GPUs free")

    def _order(self, task: Task, placement: Placement) -> list[list[int]]:
        """Numbers of free GPUs that suffice, those that tie together, best first."""
        scores = placement.scores(self.level_table, task).tolist()
        tied: dict[float, list[int]] = {}
        for free in range(task.gpus, self.gpus + 1):
            tied.setdefault(scores[free], []).append(free)
        return [tied[score] for score in sorted(tied, reverse=True)]


def _level_table(gpus: int) -> MachineColumns:
    table = MachineColumns((MachineGroup(machines=gpus + 1, gpus=gpus),), ())
    for free in range(gpus):
        table.take((Piece(free, (1 << gpus) - (1 << free), MILLI, 0, 0),))
    return table


@lru_cache(maxsize=4096)
def lowest_bits(mask: int, count: int) -> int:
    """The ``count`` lowest set bits of a mask."""
    rest = mask
    for _ in range(count):
        rest &= rest - 1
    return mask ^ rest
