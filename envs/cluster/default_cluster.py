"""The cluster that an environment schedules where it is told of none."""

from __future__ import annotations

import math

import numpy as np

from ...traces import JobTrace
from ...traces.errors import HandrailError
from .config import ClusterConfig, MachineGroup

OFFERED_LOAD = 0.8
"""Machines are so many that the trace offers this share of what they can do."""

GPUS_A_SERVER = 8

WAIT_LIMIT_S = 14 * 86_400.0
"""Wait after which a job goes before all that are not overdue."""

GROUP_SHARES = ((0.5, 1.0, 8), (0.3, 1.5, 8), (0.2, 0.7, 4))
"""Of three groups: share of the capacity (GPUs times speed), speed, GPUs of a server."""


def default_cluster(trace: JobTrace) -> ClusterConfig:
    """Servers of 8 GPUs that the trace offers 0.8 of, or the processors that its file names; shortest job first.

    Run times are known by the users' estimates where every job has one, else predicted.

    Raises:
        HandrailError: The trace asks for no GPUs, and its file does not say how many processors there are.
    """
    knowledge = "predicted" if bool(np.isnan(trace.estimate_s).any()) else "user_estimate"
    standing = {"discipline": "sjf", "knowledge": knowledge, "wait_limit_s": WAIT_LIMIT_S}
    if (trace.gpu_milli > 0).any():
        least = math.ceil(_largest_gpus(trace) / GPUS_A_SERVER)
        servers = max(math.ceil(_offered_gpus(trace) / OFFERED_LOAD / GPUS_A_SERVER), least)
        return ClusterConfig.parse(groups=(MachineGroup(machines=servers, gpus=GPUS_A_SERVER),), **standing)
    if trace.processors is None:
        raise HandrailError(
            f"{trace.name}: its file does not say how many processors there are; give cluster=ClusterConfig(...)"
        )
    return ClusterConfig.parse(processors=trace.processors, **standing)


def default_groups(trace: JobTrace) -> ClusterConfig:
    """Three groups of servers that differ in speed and size, of which the trace offers 0.8.

    Each has at least as many servers as the trace's largest job needs. First come, first served, with EASY
    backfilling.

    Raises:
        HandrailError: The trace asks for no GPUs.
    """
    if not (trace.gpu_milli > 0).any():
        raise HandrailError(f"{trace.name}: its jobs ask for no GPUs; give cluster=ClusterConfig(groups=(...))")
    knowledge = "predicted" if bool(np.isnan(trace.estimate_s).any()) else "user_estimate"
    capacity = _offered_gpus(trace) / OFFERED_LOAD
    largest = _largest_gpus(trace)
    groups = tuple(
        MachineGroup(
            name=f"group-{number}",
            machines=max(math.ceil(share * capacity / speed / gpus), math.ceil(largest / gpus)),
            gpus=gpus,
            speed=speed,
        )
        for number, (share, speed, gpus) in enumerate(GROUP_SHARES, start=1)
    )
    return ClusterConfig.parse(
        groups=groups, discipline="fcfs", backfill="easy", knowledge=knowledge, wait_limit_s=WAIT_LIMIT_S
    )


def _offered_gpus(trace: JobTrace) -> float:
    """GPUs that the trace keeps busy on average, from its first arrival to its last."""
    work_s = float((trace.tasks * trace.gpu_milli * trace.run_s).sum()) / 1000.0
    if not (math.isfinite(work_s) and trace.duration_s > 0.0):
        raise HandrailError(f"{trace.name}: it offers no finite load to size a cluster by; give cluster=...")
    return work_s / trace.duration_s


def _largest_gpus(trace: JobTrace) -> float:
    return float((trace.tasks * trace.gpu_milli).max()) / 1000.0
