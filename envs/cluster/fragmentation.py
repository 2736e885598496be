"""Fragmentation as FGD measures it: free GPU capacity that a typical task could not use.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX
ATC 2023. For one machine and one typical task all free GPU capacity is fragment if the task does not fit the machine
(too few GPUs, processors, or another model) or needs no GPU; else what is free on GPUs that are too full for it. The
machine's fragment F is the mean over typical tasks, weighted by how often they come. Memory plays no part, as there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from .machine_columns import Changes, MachineColumns
from .machine_task import Task

if TYPE_CHECKING:
    from .machine_index import MachineIndex

Ints = NDArray[np.int64]

COVERAGE = 0.95
"""The most frequent classes of tasks that cover this share of all are the typical ones."""
REFRESH = 1000
"""A learning `TypicalTasks` looks at its counts anew when they have doubled, or after this many tasks."""


class TypicalTasks:
    """The most frequent classes of tasks (GPUs, share of each, processors, models), with their counts.

    Given ``tasks`` it is fixed. Without, it learns from the jobs that have been placed, so that nothing of the future
    shows in it; nothing is typical before the first.

    Attributes:
        weight: Count of all typical tasks, those without GPUs included.
        version: Grows with each change.
        gpus, milli, cpu_milli, types, count: int64, one entry a typical class with GPUs.
    """

    def __init__(self, tasks: Iterable[Task] | None = None) -> None:
        self._counts: dict[Task, int] = {}
        self._learns = tasks is None
        self._seen = 0
        self._next_look = 1
        self.version = 0
        for task in tasks or ():
            self._counts[task] = self._counts.get(task, 0) + 1
        self._look()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        twin = memo[id(self)] = self.fork()
        return twin

    def fork(self) -> Self:
        """Independent counts that are the same."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)  # the arrays are never written to
        twin._counts = dict(self._counts)
        return twin

    def note(self, task: Task) -> None:
        """Count a task that has been placed, if this learns."""
        if not self._learns:
            return
        self._counts[task] = self._counts.get(task, 0) + 1
        self._seen += 1
        if self._seen >= self._next_look:
            self._next_look = self._seen + min(self._seen, REFRESH)
            self._look()

    def _look(self) -> None:
        classes: dict[tuple[int, int, int, int], int] = {}
        for task, count in self._counts.items():
            key = (task.cpu_milli, task.milli, task.gpus, task.types)
            classes[key] = classes.get(key, 0) + count
        ranked = sorted(classes.items(), key=lambda item: (item[1], item[0]), reverse=True)
        enough = COVERAGE * sum(classes.values())
        typical, covered = [], 0
        for key, count in ranked:
            if covered >= enough:
                break
            typical.append((*key, count))
            covered += count
        self.weight = covered
        columns = np.array([row for row in typical if row[1] > 0], np.int64).reshape(-1, 5).T
        self.cpu_milli, self.milli, self.gpus, self.types, self.count = columns.copy()
        self._thresholds, self._threshold_of = np.unique(self.milli, return_inverse=True)
        self.version += 1

    def fragment(self, gpu_free: Ints, cpu_free: Ints, type_bits: Ints) -> Ints:
        """F times :attr:`weight` of some machines, in milli-GPU, as exact integers.

        Args:
            gpu_free: (n, k) free thousandths of each GPU; 0 where a machine has fewer than k.
            cpu_free: (n,) free thousandths of processors.
            type_bits: (n,) bit of each machine's GPU model.
        """
        total = gpu_free.sum(1) * self.weight
        if not len(self.count):
            return total
        free = gpu_free[:, None, :]
        usable = free >= self._thresholds[:, None]
        amount = np.where(usable, free, 0).sum(2)[:, self._threshold_of]
        able = usable.sum(2)[:, self._threshold_of] >= self.gpus
        able &= cpu_free[:, None] >= self.cpu_milli
        able &= (self.types == 0) | ((self.types & type_bits[:, None]) != 0)
        return total - np.where(able, amount, 0) @ self.count


class FragmentMeter:
    """F of every machine, worked out anew only for machines that have changed."""

    def __init__(self, typical: TypicalTasks) -> None:
        self.typical = typical
        self._changes = Changes()
        self._machines: MachineColumns | None = None
        self._version = -1
        self._fragment = np.empty(0, np.int64)

    def fork(
        self, typical: TypicalTasks, before: MachineColumns | MachineIndex, after: MachineColumns | MachineIndex
    ) -> FragmentMeter:
        """A meter with what this one has worked out, of ``typical``, and of ``after`` in the place of ``before``."""
        twin = FragmentMeter(typical)
        twin._changes = self._changes.fork()
        twin._machines = after if self._machines is before else self._machines  # type: ignore[assignment]
        twin._version = self._version
        twin._fragment = self._fragment.copy()
        return twin

    def fragment(self, machines: MachineColumns) -> Ints:
        """F times the typical tasks' weight, in milli-GPU, (n,); not to be written to."""
        if self._version != self.typical.version or self._machines is not machines:
            self._version = self.typical.version
            self._machines = machines
            self._changes = Changes()
            self._fragment = np.empty(machines.n, np.int64)
        rows = self._changes.since_last(machines)
        if len(rows):
            self._fragment[rows] = self.typical.fragment(
                machines.gpu_free[rows], machines.cpu_free[rows], machines.type_bits[rows]
            )
        return self._fragment
