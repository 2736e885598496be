"""LLM serving: a SimPy model of a fleet of replicas with continuous batching, and routing over it."""

from .config import FleetConfig, Outage, ReplicaConfig
from .latency import GpuProfile, LatencyModel, PiecewiseLinear
from .layout import GLOBAL_FIELDS, REPLICA_FIELDS, layout_for
from .observer import RouterObserver
from .results import FINISHED, REJECTED, UNFINISHED, ServingResults
from .simulator import DecisionPoint, Outcome, ServingSimulator

__all__ = [
    "FINISHED",
    "GLOBAL_FIELDS",
    "REJECTED",
    "REPLICA_FIELDS",
    "UNFINISHED",
    "DecisionPoint",
    "FleetConfig",
    "GpuProfile",
    "LatencyModel",
    "Outage",
    "Outcome",
    "PiecewiseLinear",
    "ReplicaConfig",
    "RouterObserver",
    "ServingResults",
    "ServingSimulator",
    "layout_for",
]
