"""From a cluster's config to its resource pool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .config import ClusterConfig
from .pool import ProcessorPool, ResourcePool


def make_pool(
    config: ClusterConfig, seed: np.random.SeedSequence, *, gpu_types: Sequence[str] = (), by_group: bool = False
) -> ResourcePool:
    """The pool that ``config`` describes.

    Args:
        config: The cluster.
        seed: Seed of random placement.
        gpu_types: GPU models, in the order of the bits of ``Demand.types``.
        by_group: Whether a policy chooses the group of machines for each job.
    """
    if config.processors is not None:
        return ProcessorPool(config.processors)
    if by_group:
        from .group_pool import GroupPool

        return GroupPool(config.groups, config.placement, seed, gpu_types=gpu_types)
    from .machine_pool import MachinePool

    return MachinePool(config.groups, config.placement, seed, gpu_types=gpu_types)
