"""How much of a cluster's GPU capacity a placement policy can fill: arrivals without departures.

The protocol of Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
Descent" (USENIX ATC 2023): pods and clones of them arrive in random order until they have asked for so much GPU
capacity; a pod that fits nowhere is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.cluster.config import MachineGroup
from ..envs.cluster.demand import MILLI, Demand
from ..envs.cluster.machine_pool import MachinePool
from ..traces.cluster import JobTrace, NodeTable
from ..traces.errors import HandrailError

FRAGMENTATION_AT = (50, 80, 90)
"""Arrived per cent of GPU capacity at which fragmentation is noted."""


MAX_ARRIVALS = 100.0
"""Most of the cluster's capacity that is asked for; more is taken for a slip."""


def allocate(
    pods: JobTrace,
    nodes: NodeTable,
    placement: str,
    arrivals: float = 1.3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fill the cluster and say how far it got.

    Args:
        pods: Jobs; arrival and run times play no part. They are the typical tasks of FGD and of fragmentation.
        nodes: Machines.
        placement: Name of the policy.
        arrivals: GPU capacity asked for in all, over that of the cluster: clones drawn uniformly with replacement are
            added while they stay within it, then all are shuffled once. Fewer than all pods come if these ask for more.
        seed: Seed of clones and order (one stream) and of random placement (another).
        progress: Called with (arrivals so far, arrivals in all).

    Returns:
        ``gpu_allocated``: per cent of GPU capacity in use when 100 % had been asked for (``at_100``; None where
        ``arrivals`` ends before) and at the ``end``; ``fragmentation``: per cent of the free GPU capacity that typical
        pods cannot use, at 50, 80, 90 % asked for and at the ``end``; ``pods``: arrived; ``skipped``: fitted nowhere.

    Raises:
        HandrailError: ``placement`` is unknown, ``arrivals`` is not above 0, or pods or nodes have no GPUs.
    """
    if not 0 < arrivals <= MAX_ARRIVALS:
        raise HandrailError(f"arrivals must be above 0 and at most {MAX_ARRIVALS:g}, got {arrivals:g}")
    arrival_seed, placement_seed = np.random.SeedSequence(seed).spawn(2)
    demands = _demands(pods)
    pool = MachinePool(machine_groups(nodes), placement, placement_seed, gpu_types=pods.gpu_type_names, typical=demands)
    capacity_milli = int(nodes.gpus.sum()) * MILLI
    asked_milli = pods.tasks * pods.gpu_milli
    if capacity_milli == 0:
        raise HandrailError(f"{nodes.name}: no node has a GPU; give a node list with GPUs")
    if not asked_milli.any():
        raise HandrailError(f"{pods.name}: no pod asks for a GPU; give a pod list with GPUs")
    rows = arrival_order(asked_milli, arrivals * capacity_milli, np.random.default_rng(arrival_seed))

    marks = {percent: capacity_milli * percent / 100 for percent in (*FRAGMENTATION_AT, 100)}
    noted: dict[int, tuple[float, float]] = {}
    arrived_milli = allocated_milli = skipped = 0

    def state() -> tuple[float, float]:
        return 100 * allocated_milli / capacity_milli, 100 * pool.fragmentation()

    for done, row in enumerate(rows.tolist(), start=1):
        arrived_milli += int(asked_milli[row])
        if pool.place(demands[row]) is None:
            skipped += 1
        else:
            allocated_milli += int(asked_milli[row])
        for percent, mark in marks.items():
            if percent not in noted and arrived_milli >= mark:
                noted[percent] = state()
        if progress is not None:
            progress(done, len(rows))
    end = state()
    nothing = (None, None)
    return {
        "gpu_allocated": {"at_100": noted.get(100, nothing)[0], "end": end[0]},
        "fragmentation": {
            **{f"at_{percent}": noted.get(percent, nothing)[1] for percent in FRAGMENTATION_AT},
            "end": end[1],
        },
        "pods": len(rows),
        "skipped": skipped,
    }


def arrival_order(asked_milli: NDArray[np.int64], target_milli: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows in the order in which they arrive: all, with clones up to the target; or a random part that stays below it.

    The first clone that would go beyond the target ends the drawing.
    """
    n = len(asked_milli)
    asked = int(asked_milli.sum())
    if asked > target_milli:
        rows = rng.permutation(n)
        return rows[np.cumsum(asked_milli[rows]) <= target_milli]
    clones = []
    while (asked := asked + int(asked_milli[row := int(rng.integers(n))])) <= target_milli:
        clones.append(row)
    return rng.permutation(np.concatenate([np.arange(n), np.array(clones, np.int64)]))


def machine_groups(nodes: NodeTable) -> tuple[MachineGroup, ...]:
    """The nodes in their order, neighbours that are alike in one group."""
    kinds = zip(nodes.gpus.tolist(), nodes.cpu_milli.tolist(), nodes.memory_mib.tolist(), nodes.models, strict=True)
    return tuple(
        MachineGroup(
            name=model or "machines",
            machines=len(list(alike)),
            gpus=gpus,
            cpu_milli=max(1, cpu_milli),
            memory_mib=max(1, memory_mib),
            gpu_type=model,
        )
        for (gpus, cpu_milli, memory_mib, model), alike in groupby(kinds)
    )


def _demands(pods: JobTrace) -> list[Demand]:
    types = pods.gpu_types if pods.gpu_types is not None else np.zeros(len(pods), np.int64)
    columns = (pods.tasks, pods.gpu_milli, pods.cpu_milli, pods.memory_mib, types)
    return [Demand(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
