"""Random: a uniform machine of those that have room, and a uniform GPU of it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..machine_set import nth_of
from .base import Placement

if TYPE_CHECKING:
    from ..fragmentation import FragmentMeter
    from ..machine_columns import MachineColumns
    from ..machine_index import MachineIndex
    from ..machine_task import Task


class Random(Placement):
    """Draws from its own stream: one number a task, one more for a share."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng

    def fork(self, meter: FragmentMeter) -> Random:
        return Random(deepcopy(self._rng))

    def reseed(self, rng: Generator) -> None:
        self._rng = np.random.default_rng(int(rng.integers(2**63)))

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        return np.zeros(machines.n)

    def choose(self, machines: MachineColumns, task: Task, feasible: NDArray[np.bool_]) -> int:
        return self._one_of(feasible)

    def choose_indexed(self, index: MachineIndex, task: Task) -> int:
        suitable = index.levels[task.gpus :]
        return nth_of(suitable, int(self._rng.integers(sum(level.count for level in suitable))))

    def choose_gpu(self, machines: MachineColumns, task: Task, machine: int) -> int:
        return self._one_of(machines.gpu_free[machine] >= task.milli)

    def _one_of(self, possible: NDArray[np.bool_]) -> int:
        choices = np.flatnonzero(possible)
        return int(choices[self._rng.integers(len(choices))])
