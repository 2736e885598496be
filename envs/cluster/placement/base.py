"""What a placement policy is: a score for each machine, and a choice of the GPU for a task that shares one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..fragmentation import FragmentMeter
    from ..machine_columns import MachineColumns
    from ..machine_index import MachineIndex
    from ..machine_task import Task


class Placement(ABC):
    """Sends a task to the machine with the highest score, the first of those that tie.

    Scores may depend on the machine's row and on the task, not on other machines: `machine_index` asks for the scores
    of one machine a number of free GPUs, and remembers them while :attr:`version` stays the same.
    """

    @property
    def version(self) -> int:
        """Changes when the scores of unchanged machines may."""
        return 0

    def fork(self, meter: FragmentMeter) -> Placement:
        """The policy of a forked pool, whose measure of fragmentation is ``meter``; itself where it keeps nothing."""
        return self

    def reseed(self, rng: np.random.Generator) -> None:  # noqa: B027  (most policies draw nothing)
        """Draw the seed of random choices to come anew."""

    @abstractmethod
    def scores(self, machines: MachineColumns, task: Task) -> NDArray[np.float64]:
        """(n,) scores; what stands at machines on which the task does not fit has no meaning."""

    def choose(self, machines: MachineColumns, task: Task, feasible: NDArray[np.bool_]) -> int:
        """The machine for one task, among those ``feasible`` (at least one is)."""
        return int(np.where(feasible, self.scores(machines, task), -np.inf).argmax())

    def choose_indexed(self, index: MachineIndex, task: Task) -> int:
        """The same where machines are alike and only whole GPUs are asked for."""
        return index.best(task, self)

    def choose_gpu(self, machines: MachineColumns, task: Task, machine: int) -> int:
        """The GPU for a task that takes ``task.milli`` of one: the fullest that has room, the first of those."""
        free = machines.gpu_free[machine]
        return int(np.where(free >= task.milli, free, np.iinfo(np.int64).max).argmin())
