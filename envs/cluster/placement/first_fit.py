"""First fit: the first machine that has room, and its first GPU that has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import Placement

if TYPE_CHECKING:
    from ..machine_columns import MachineColumns
    from ..machine_task import Task


class FirstFit(Placement):
    """All machines score the same."""

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        return np.zeros(machines.n)

    def choose_gpu(self, machines: MachineColumns, task: Task, machine: int) -> int:
        return int((machines.gpu_free[machine] >= task.milli).argmax())
