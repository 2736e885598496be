"""Queue disciplines, by their names on the command line. One file a family; to add one, write a class with ``scores``
and list it here."""

from __future__ import annotations

from collections.abc import Callable

from ..config import ClusterConfig
from .aging import Unicep, Wfp3
from .base import QueueDiscipline
from .fair import DominantResourceFairness
from .fcfs import Fcfs
from .nonlinear import F1, F2, F3, F4
from .preemptive import GittinsIndex, LeastAttainedService, ShortestRemainingTimeFirst
from .sjf import ShortestJobFirst, SmallestAreaFirst

_MAKERS: dict[str, Callable[[ClusterConfig], QueueDiscipline]] = {
    cls.name: lambda _, made=cls: made()
    for cls in (
        Fcfs,
        ShortestJobFirst,
        SmallestAreaFirst,
        ShortestRemainingTimeFirst,
        F1,
        F2,
        F3,
        F4,
        Wfp3,
        Unicep,
        DominantResourceFairness,
    )
}
_MAKERS["las"] = lambda config: LeastAttainedService(config.preemption.las_threshold_s)
_MAKERS["gittins"] = lambda config: GittinsIndex(config.preemption.las_threshold_s)


def make_discipline(config: ClusterConfig) -> QueueDiscipline:
    """The discipline that ``config`` names."""
    return _MAKERS[config.discipline](config)


__all__ = ["QueueDiscipline", "make_discipline"]
