"""Cluster scheduling: a SimPy model of machines with GPUs and of the queue before them, and scheduling over it."""

from .config import (
    ClusterConfig,
    Faults,
    MachineGroup,
    MachineOutage,
    MachineSlowdown,
    Preemption,
    ProcessorOutage,
)
from .demand import Demand
from .layout import GLOBAL_FIELDS, SLOT_FIELDS, layout_for
from .observer import SchedulerObserver
from .results import FAILED, FINISHED, KILLED, REJECTED, UNFINISHED, ClusterResults
from .simulator import ClusterSimulator, DecisionPoint, Outcome

__all__ = [
    "FAILED",
    "FINISHED",
    "GLOBAL_FIELDS",
    "KILLED",
    "REJECTED",
    "SLOT_FIELDS",
    "UNFINISHED",
    "ClusterConfig",
    "ClusterResults",
    "ClusterSimulator",
    "DecisionPoint",
    "Demand",
    "Faults",
    "MachineGroup",
    "MachineOutage",
    "MachineSlowdown",
    "Outcome",
    "Preemption",
    "ProcessorOutage",
    "SchedulerObserver",
    "layout_for",
]
