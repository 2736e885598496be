"""Where a layout's fields stand in the observation, resolved once so that a decision only slices."""

from __future__ import annotations

from ..envs.common import Layout
from ..traces.errors import HandrailError


def replica_slice(layout: Layout, name: str) -> slice:
    """The slice of an observation that holds one per-replica field, one value a replica.

    ``observation[replica_slice(layout, name)]`` is ``layout.replica(observation, name)`` without the look-up by name.

    Raises:
        HandrailError: The layout has no such field.
    """
    names = [field.name for field in layout.replica_fields]
    if name not in names:
        raise HandrailError(f"the observation has no per-replica field {name!r}; it has {', '.join(names)}")
    return slice(names.index(name), len(names) * layout.n_replicas, len(names))


def global_index(layout: Layout, name: str) -> int:
    """The position in an observation of one global field.

    Raises:
        HandrailError: The layout has no such field.
    """
    names = [field.name for field in layout.global_fields]
    if name not in names:
        raise HandrailError(f"the observation has no global field {name!r}; it has {', '.join(names)}")
    return len(layout.replica_fields) * layout.n_replicas + names.index(name)
