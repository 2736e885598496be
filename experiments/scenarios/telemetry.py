"""Which numbers of an observation are telemetry, which sensor faults may spoil; the rest are own books."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...policies.domains import DOMAIN_FOLDERS


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where telemetry stands in an observation.

    Attributes:
        positions: Of all telemetry fields, int64, rising.
        per_replica: Of the fields that each replica reports, int64 of shape (fields, n_replicas).
        low, high: Bounds of ``positions``, float32.
    """

    positions: NDArray[np.int64]
    per_replica: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


def telemetry_fields(domain: str) -> tuple[str, ...]:
    """Names of a domain's telemetry fields, per replica and global, as its layout declares them."""
    folder = DOMAIN_FOLDERS[domain]  # type: ignore[index]
    layout = import_module(f"...envs.{folder}.layout", __package__)
    return tuple(sorted(layout.TELEMETRY_FIELDS))


def telemetry_of(domain: str, layout: Layout) -> Telemetry:
    """Where a domain's telemetry stands in observations of ``layout``."""
    names = set(telemetry_fields(domain))
    width, replicas = len(layout.replica_fields), layout.n_replicas
    columns = [i for i, field in enumerate(layout.replica_fields) if field.name in names]
    rows = np.arange(replicas, dtype=np.int64) * width
    per_replica = np.array([rows + column for column in columns], dtype=np.int64).reshape(len(columns), replicas)
    block = width * replicas
    single = [block + i for i, field in enumerate(layout.global_fields) if field.name in names]
    positions = np.sort(np.concatenate((per_replica.ravel(), np.array(single, dtype=np.int64))))
    return Telemetry(positions, per_replica, layout.low[positions], layout.high[positions])
