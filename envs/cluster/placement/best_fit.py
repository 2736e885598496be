"""Best fit: the machine with the least left over, over GPUs and processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..demand import MILLI
from .base import Placement

if TYPE_CHECKING:
    from ..machine_columns import MachineColumns
    from ..machine_task import Task


class BestFit(Placement):
    """The score falls with :func:`leftover` in whole per cent, as in the FGD paper's simulator (USENIX ATC 2023).

    A share goes on the fullest GPU that has room.
    """

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        return np.floor(100 * (1 - leftover(machines, task)))


def leftover(machines: MachineColumns, task: Task) -> NDArray[np.float64]:
    """(n,) what would be free after the task, relative to the largest machine: the mean over GPUs and processors.

    A resource counts if machines have it and can be short of it.
    """
    shares = []
    if machines.cpu_scale:
        shares.append((np.minimum(machines.cpu_free, machines.cpu_scale) - task.cpu_milli) / machines.cpu_scale)
    if machines.gpu_free.shape[1]:
        largest = machines.gpu_free.shape[1] * MILLI
        shares.append((machines.gpu_total_free - task.gpus * task.milli) / largest)
    return sum(shares, np.zeros(machines.n)) / max(1, len(shares))
