"""What a replay leaves behind: one row an access, in columns, and the accounts of prefetches and tiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .config import CacheConfig
from .ledger import PrefetchCounts

HIT: Final = 0
MISS: Final = 1
LATE: Final = 2
MERGED: Final = 3
FIRST_USE: Final = 4
OUTCOMES = ("hit", "miss", "late", "merged", "first_use")
"""Names of the outcomes: found in the cache; found neither there nor under way; met its prefetch under way, the first
to do so; met another fetch under way; found in the cache as the first to use a prefetch."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefetchResults:
    """Result columns, one row an access in the order in which they were issued, all of shape (n,).

    Attributes:
        config: What was replayed on.
        arrival_s: When the access was issued, float64.
        finish_s: When it was done; +inf where it never was.
        access_s: Its latency.
        outcome: int8, a place in `OUTCOMES`.
        tenant: int64 codes into ``tenant_names``.
        key: int64 ids.
        size_bytes: int64.
        is_write: Whether the access wrote the object, bool.
        row: int64 rows of the trace.
        measured: Which count in the metrics, bool.
        tenant_names: Names; empty for one tenant without a name.
        prefetches: What became of all prefetches.
        prefetches_by_tenant: The same, one entry a tenant.
        issued_by_arm: Prefetches issued, by arm.
        polluted: Misses on what a prefetch had pushed out.
        fetches, fetch_bytes, work_s, waited_s: Over the backing tier's link by kind (demand, prefetch, write-back):
            transfers, bytes, server time, time waited for the server.
        near_bytes: Bytes over the middle cache's link by kind; None without one.
        end_s: When all was done.
        warm_keys, warm_units: What was put through the cache before the start, and how much each counts.
    """

    config: CacheConfig
    arrival_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    access_s: NDArray[np.float64]
    outcome: NDArray[np.int8]
    tenant: NDArray[np.int64]
    key: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    is_write: NDArray[np.bool_]
    row: NDArray[np.int64]
    measured: NDArray[np.bool_]
    tenant_names: tuple[str, ...]
    prefetches: PrefetchCounts
    prefetches_by_tenant: tuple[PrefetchCounts, ...]
    issued_by_arm: Mapping[str, int]
    polluted: int
    fetches: tuple[int, ...]
    fetch_bytes: tuple[int, ...]
    work_s: tuple[float, ...]
    waited_s: tuple[float, ...]
    near_bytes: tuple[int, ...] | None
    end_s: float
    warm_keys: tuple[int, ...]
    warm_units: tuple[int, ...]
