"""What a replay leaves: columns, one row a job of the trace, and the use of the cluster over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FINISHED, REJECTED, UNFINISHED, FAILED, KILLED = 0, 1, 2, 3, 4
"""Values of the ``status`` column."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of the cluster, constant between two entries.

    Attributes:
        times_s: When it changed, rising, shape (m,).
        busy_size: GPUs (processors) in use from then on, shape (m,).
        down_size: GPUs on machines that are down from then on, shape (m,).
        sampled_s: When fragmentation was sampled, shape (k,).
        fragmentation: Share of the free GPUs that no typical job could use, shape (k,).
    """

    times_s: Floats
    busy_size: Floats
    down_size: Floats
    sampled_s: Floats
    fragmentation: Floats


@dataclass(frozen=True, slots=True)
class ClusterResults:
    """Result columns, each of shape (n,) in the order of the trace; times in simulated seconds, nan where it never was.

    Attributes:
        arrival_s, run_s, tasks, tenant, deadline_s: As in the trace (deadline nan where there is none).
        size: GPUs (processors) of the whole gang; 0 for a job without GPUs where machines have them.
        estimate_s: What the scheduler took the run time for when the job arrived; 0 where it knew nothing.
        start_s: When it first took machines.
        finish_s: When it ended for good (finished, failed for the last time, or killed).
        service_s: Seconds on machines, over all attempts.
        wasted_s: Of those, work that was lost to failures and preemption, and overheads.
        attempts: Times it took machines.
        preemptions: Of those, how often it was preempted.
        status: ``FINISHED``, ``REJECTED``, ``UNFINISHED``, ``FAILED`` or ``KILLED`` (int8).
        measured: Whether it counts; the others were warm-up or kept the load up.
        cluster_size: GPUs (processors) of the cluster.
        size_unit: What ``size`` and ``cluster_size`` count: ``gpus``, or ``processors`` where there are no GPUs.
        tenant_names: Names by tenant code.
        usage: Use of the cluster over time.
        end_s: Simulated time at the end.
    """

    arrival_s: Floats
    run_s: Floats
    size: Floats
    tasks: Ints
    tenant: Ints
    deadline_s: Floats
    estimate_s: Floats
    start_s: Floats
    finish_s: Floats
    service_s: Floats
    wasted_s: Floats
    attempts: Ints
    preemptions: Ints
    status: NDArray[np.int8]
    measured: NDArray[np.bool_]
    cluster_size: float
    size_unit: Literal["gpus", "processors"]
    tenant_names: tuple[str, ...]
    usage: Usage
    end_s: float
