"""Fragmentation gradient descent: the machine on which the task makes fragmentation grow least.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX
ATC 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..demand import MILLI
from ..fragmentation import FragmentMeter, Ints
from ..machine_columns import Changes
from .base import Placement

if TYPE_CHECKING:
    from ..machine_columns import MachineColumns
    from ..machine_task import Task


class FGD(Placement):
    """The score is int(100 sigmoid((F before - F after) / 1000)) with F in milli-GPU, as in the paper's simulator.

    A share goes on the GPU with the best score, the first of those that tie. The scores of a class of tasks are kept
    and worked out anew only for machines that have changed.
    """

    def __init__(self, meter: FragmentMeter) -> None:
        self._meter = meter
        self._kept: dict[Task, tuple[Changes, NDArray[np.float64]]] = {}
        self._version = -1

    def fork(self, meter: FragmentMeter) -> FGD:
        twin = FGD(meter)
        twin._version = self._version
        twin._kept = {task: (changes.fork(), scores.copy()) for task, (changes, scores) in self._kept.items()}
        return twin

    @property
    def version(self) -> int:
        return self._meter.typical.version

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        return self._gpu_scores(machines, task, np.arange(machines.n)).max(axis=1, initial=-1)

    def choose(self, machines: MachineColumns, task: Task, feasible: NDArray[np.bool_]) -> int:
        if self._version != self.version:
            self._kept.clear()
            self._version = self.version
        key = task._replace(tasks=1)
        if key not in self._kept:
            self._kept[key] = (Changes(), np.full(machines.n, -1.0))
        changes, scores = self._kept[key]
        rows = changes.since_last(machines)
        scores[rows] = -1
        rows = rows[feasible[rows]]
        if len(rows):
            scores[rows] = self._gpu_scores(machines, task, rows).max(axis=1)
        return int(scores.argmax())

    def choose_gpu(self, machines: MachineColumns, task: Task, machine: int) -> int:
        return int(self._gpu_scores(machines, task, np.array([machine])).argmax())

    def _gpu_scores(self, machines: MachineColumns, task: Task, rows: Ints) -> NDArray[np.float64]:
        """(rows, k) scores: a share on each of the GPUs, -1 where it does not fit; (rows, 1) for all other tasks."""
        before = self._meter.fragment(machines)[rows]
        free, cpu_free = machines.gpu_free[rows], machines.cpu_free[rows] - task.cpu_milli
        if 0 < task.milli < MILLI:
            at, gpus = np.nonzero(free >= task.milli)
            after = free[at]
            after[np.arange(len(at)), gpus] -= task.milli
            scores = np.full(free.shape, -1.0)
            scores[at, gpus] = self._score(before[at], after, cpu_free[at], machines.type_bits[rows[at]])
            return scores
        whole = free == MILLI
        after = np.where(whole & (whole.cumsum(axis=1) <= task.gpus), 0, free)
        return self._score(before, after, cpu_free, machines.type_bits[rows])[:, None]

    def _score(self, before: Ints, gpu_free: Ints, cpu_free: Ints, type_bits: Ints) -> NDArray[np.float64]:
        typical = self._meter.typical
        gain = (before - typical.fragment(gpu_free, cpu_free, type_bits)) / (MILLI * max(1, typical.weight))
        return np.floor(100 / (1 + np.exp(-gain)))
