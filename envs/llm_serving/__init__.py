"""LLM serving: a SimPy model of a fleet of replicas with continuous batching, and routing over it."""

from .config import FleetConfig, KVCut, Outage, ReplicaConfig, Slowdown
from .latency import GpuProfile, LatencyModel, PiecewiseLinear
from .layout import GLOBAL_FIELDS, REPLICA_FIELDS, TELEMETRY_FIELDS, layout_for
from .observer import RouterObserver
from .results import FINISHED, REJECTED, UNFINISHED, ServingResults
from .simulator import DecisionPoint, Outcome, ServingSimulator

__all__ = [
    "FINISHED",
    "GLOBAL_FIELDS",
    "REJECTED",
    "REPLICA_FIELDS",
    "TELEMETRY_FIELDS",
    "UNFINISHED",
    "DecisionPoint",
    "FleetConfig",
    "GpuProfile",
    "KVCut",
    "LatencyModel",
    "Outage",
    "Outcome",
    "PiecewiseLinear",
    "ReplicaConfig",
    "RouterObserver",
    "ServingResults",
    "ServingSimulator",
    "Slowdown",
    "layout_for",
]
