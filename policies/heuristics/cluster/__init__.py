"""Scheduling heuristics for clusters, by their names on the command line. One file a family; to add one, write a class
with ``scores`` and list it here."""

from __future__ import annotations

from .aging import Unicep, Wfp3
from .base import DEFAULT_OVERDUE_PASSES, SchedulingHeuristic
from .blind import BlindFirstComeFirstServed
from .fcfs import FirstComeFirstServed
from .lots import RandomOrder
from .nonlinear import F1, F2, F3, F4
from .sjf import ShortestJobFirst, SmallestAreaFirst

HEURISTICS: dict[str, type[SchedulingHeuristic]] = {
    cls.name: cls
    for cls in (
        FirstComeFirstServed,
        ShortestJobFirst,
        SmallestAreaFirst,
        F1,
        F2,
        F3,
        F4,
        Wfp3,
        Unicep,
        RandomOrder,
    )
}

__all__ = [
    "DEFAULT_OVERDUE_PASSES",
    "F1",
    "F2",
    "F3",
    "F4",
    "HEURISTICS",
    "BlindFirstComeFirstServed",
    "FirstComeFirstServed",
    "RandomOrder",
    "SchedulingHeuristic",
    "ShortestJobFirst",
    "SmallestAreaFirst",
    "Unicep",
    "Wfp3",
]
