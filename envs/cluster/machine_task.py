"""What a pool of machines makes of a demand: tasks that each fit one machine, and the piece of it that a task takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self

from .config import MachineGroup
from .demand import MILLI, Demand


class Task(NamedTuple):
    """``tasks`` identical tasks; the amounts are for each.

    Attributes:
        tasks: How many.
        gpus: GPUs of each; 0 where it needs none, 1 where it needs a share.
        milli: Thousandths of each of these GPUs: 1000, less for a share, 0 without GPUs.
        cpu_milli: Thousandths of a processor; 0 where no machine is ever short of them.
        memory_mib: Memory in MiB; 0 where no machine is ever short of it.
        types: Bit mask of the GPU models allowed; 0 where all machines will do.
    """

    tasks: int
    gpus: int
    milli: int
    cpu_milli: int
    memory_mib: int
    types: int


class Piece(NamedTuple):
    """What one task takes of one machine; ``gpus`` is a bit mask of the machine's GPUs, ``milli`` of each of them."""

    machine: int
    gpus: int
    milli: int
    cpu_milli: int
    memory_mib: int


Pieces = tuple[Piece, ...]
"""An allocation: one piece a task."""


class TaskShapes:
    """Turns demands into tasks, for given machines.

    A demand for more GPUs a task than any allowed machine has is split into the smallest number of equal whole-GPU
    tasks that fit a machine: 16 GPUs on machines of 8 are 2 x 8, 12 are 2 x 6, 9 are 3 x 3. Processors and memory are
    split likewise, rounded up. An amount above one GPU that is no multiple of it is rounded up to whole GPUs.
    """

    def __init__(self, groups: Sequence[MachineGroup], gpu_types: Sequence[str]) -> None:
        kinds = Counter()
        for group in groups:
            kinds[type_bit(group, gpu_types), group.gpus, group.cpu_milli, group.memory_mib] += group.machines
        self._kinds = list(kinds.items())
        self._cpu_limited = any(group.cpu_milli is not None for group in groups)
        self._memory_limited = any(group.memory_mib is not None for group in groups)
        self._known: dict[Demand, Task] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # what it remembers follows from the demand alone

    def task(self, demand: Demand) -> Task:
        """The tasks of a demand."""
        known = self._known.get(demand)
        if known is None:
            known = self._known[demand] = self._shape(demand)
        return known

    def fit_empty(self, task: Task) -> bool:
        """Whether the tasks fit when every machine is up and nothing runs."""
        room = 0
        for (bit, gpus, cpu_milli, memory_mib), machines in self._kinds:
            if task.types and not bit & task.types:
                continue
            each = task.tasks
            if task.milli:
                each = min(each, gpus // task.gpus if task.milli == MILLI else gpus * (MILLI // task.milli))
            if task.cpu_milli and cpu_milli is not None:
                each = min(each, cpu_milli // task.cpu_milli)
            if task.memory_mib and memory_mib is not None:
                each = min(each, memory_mib // task.memory_mib)
            room += each * machines
        return room >= task.tasks

    def _shape(self, demand: Demand) -> Task:
        tasks, gpu_milli, cpu_milli, memory_mib, types = demand
        gpus, milli = (-(-gpu_milli // MILLI), MILLI) if gpu_milli >= MILLI else (int(gpu_milli > 0), gpu_milli)
        if gpus == 0 or all(kind[0] & types for kind, _ in self._kinds):
            types = 0
        most = max((kind[1] for kind, _ in self._kinds if types == 0 or kind[0] & types), default=0)
        if gpus > most > 0:
            parts = next(parts for parts in range(2, gpus + 1) if gpus % parts == 0 and gpus // parts <= most)
            tasks, gpus = tasks * parts, gpus // parts
            cpu_milli, memory_mib = -(-cpu_milli // parts), -(-memory_mib // parts)
        return Task(
            int(tasks),
            int(gpus),
            int(milli),
            int(cpu_milli) if self._cpu_limited else 0,
            int(memory_mib) if self._memory_limited else 0,
            int(types),
        )


def type_bit(group: MachineGroup, gpu_types: Sequence[str]) -> int:
    """The group's bit in demands' ``types``; 0 where no demand names its model."""
    return 1 << gpu_types.index(group.gpu_type) if group.gpu_type in gpu_types else 0
