"""What a queue discipline is: a score for each waiting job, lowest first, ties in the order of the trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable


class QueueDiscipline(ABC):
    """Orders jobs.

    Attributes:
        name: On the command line.
        needs_estimate: Whether it reads run times, so that it cannot do with knowledge ``none``.
        is_static: Whether a job's score stays as it is from its arrival on; it is then computed once.
        follows_starts: Whether a start changes the order of the others.
        preempts: Whether running jobs are scored too and lose their machines to better ones.
    """

    name: ClassVar[str]
    needs_estimate: ClassVar[bool] = False
    is_static: ClassVar[bool] = True
    preempts: ClassVar[bool] = False
    follows_starts: ClassVar[bool] = False

    @abstractmethod
    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        """Scores of the jobs ``rows``, shape (len(rows),), lower goes first.

        A static discipline reads nothing that changes after a job's arrival, ``now_s`` among it.
        """

    def fork(self) -> QueueDiscipline:
        """The discipline of a forked replay; itself where it learns nothing."""
        return self

    def learn(self, work: float) -> None:  # noqa: B027  (most disciplines learn nothing)
        """Take in that a job completed which had taken ``work`` GPU-seconds (processor-seconds)."""
