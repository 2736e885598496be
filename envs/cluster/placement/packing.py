"""Packing by GPU fragments: shared GPUs first, then free GPUs of machines in use, then untouched machines.

GpuPacking of the FGD paper's simulator (Weng et al., USENIX ATC 2023), after the packing that Kubernetes' GPU-share
schedulers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..demand import MILLI
from .base import Placement

if TYPE_CHECKING:
    from ..machine_columns import MachineColumns
    from ..machine_task import Task


class Packing(Placement):
    """Scores in whole per cent; tasks without GPUs go to the first machine that has room.

    - a shared GPU has room: 100 less a tenth of its free per cent, at least 50;
    - else free GPUs of a machine in use: 50 less those it takes, at least 33;
    - else an untouched machine: 33 less its GPUs, so that small machines come first.

    A share goes on the fullest GPU that has room.
    """

    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        if task.milli == 0:
            return np.zeros(machines.n)
        opened = np.full(machines.n, max(50 - task.gpus, 33))
        untouched = machines.whole_free == machines.gpus
        scores = np.where(untouched, np.maximum(33 - machines.gpus, machines.gpus), opened)
        if task.milli < MILLI:
            free = machines.gpu_free
            fullest = np.where(free >= task.milli, free, MILLI).min(axis=1)
            shared = np.maximum(100 - fullest * 100 // MILLI // 10, 50)
            scores = np.where(fullest < MILLI, shared, scores)
        return scores.astype(np.float64)
