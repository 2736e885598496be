"""Worst fit: the machine with the most left over, which spreads load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import Placement
from .best_fit import leftover

if TYPE_CHECKING:
    from ..machine_columns import MachineColumns
    from ..machine_task import Task


class WorstFit(Placement):
    """The score is what best fit calls left over; a share goes on the emptiest GPU."""

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        return leftover(machines, task)

    def choose_gpu(self, machines: MachineColumns, task: Task, machine: int) -> int:
        return int(machines.gpu_free[machine].argmax())
