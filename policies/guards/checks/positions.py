"""Where named fields stand in an observation, found once so that a check reads them with one index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ....envs.common.layout import Layout
from ....traces.errors import HandrailError


def positions(layout: Layout, fields: Sequence[str]) -> NDArray[np.intp]:
    """Positions of the fields, in their order; a per-replica field gives one position a replica.

    Raises:
        HandrailError: The layout has no such field.
    """
    width = len(layout.replica_fields)
    per_replica = {field.name: i for i, field in enumerate(layout.replica_fields)}
    of_all = {field.name: layout.n_replicas * width + i for i, field in enumerate(layout.global_fields)}
    found: list[int] = []
    for name in fields:
        if name in of_all:
            found.append(of_all[name])
        elif name in per_replica:
            found += [per_replica[name] + width * replica for replica in range(layout.n_replicas)]
        else:
            raise HandrailError(f"the observation has no field {name!r}; it has {', '.join((*per_replica, *of_all))}")
    return np.array(found, dtype=np.intp)


def field_at(layout: Layout, position: int) -> str:
    """Name of the field at a position, in kebab case as reason codes have it."""
    block = len(layout.replica_fields) * layout.n_replicas
    if position < block:
        return layout.replica_fields[position % len(layout.replica_fields)].name.replace("_", "-")
    return layout.global_fields[position - block].name.replace("_", "-")
