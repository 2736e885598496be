"""The cache and the tier for a trace where nothing else is said."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...traces import AccessTrace
from ...traces.errors import HandrailError
from .config import CacheConfig
from .eviction import make_eviction

CACHE_SHARE = 0.1
"""Objects of the cache over the trace's distinct objects."""

TIER_LOAD = 0.6
"""Share of the tier's time that demand misses alone use."""

FIXED_SHARE = 0.5
"""Share of an average fetch's server time that does not depend on its size."""

LATENCY_IN_SERVICES = 10.0
"""Latency over the server time of an average fetch: remote storage is latency bound (a cloud volume of 16,000 fetches a
second answers in about 1 ms)."""

HIT_IN_MISSES = 1e-3
"""Time of a hit over that of an unloaded miss."""


def demand_misses(trace: AccessTrace, config: CacheConfig) -> tuple[int, int]:
    """Fetches and their bytes that demand alone needs, without prefetching and without time.

    Writes of whole objects need no fetch, but what they dirty is written back later: each counts once.
    """
    future = (trace.next_row, trace.key) if config.eviction == "belady" else (None, None)
    cache = make_eviction(config.eviction, config.capacity, *future)
    keys, sizes = trace.key.tolist(), trace.size_bytes.tolist()
    by_bytes = config.by_bytes
    n = n_bytes = 0
    for row, key in enumerate(keys):
        cache.at(row)
        if not cache.touch(key):
            n += 1
            n_bytes += sizes[row]
            cache.insert(key, sizes[row] if by_bytes else 1)
    return n, n_bytes


def tier_utilisation(trace: AccessTrace, config: CacheConfig) -> float:
    """Share of the backing tier's time that demand alone uses, without prefetching."""
    fetches, n_bytes = demand_misses(trace, config)
    tier = config.tier
    work_s = fetches * tier.service_s + n_bytes / tier.bandwidth_bytes_per_s
    return work_s / trace.duration_s if trace.duration_s > 0 else 0.0


def default_cache(
    trace: AccessTrace, *, share: float = CACHE_SHARE, tier_load: float = TIER_LOAD, **values: Any
) -> CacheConfig:
    """A cache of ``share`` of the trace's distinct objects, and a tier of which demand misses use ``tier_load``.

    Args:
        trace: What will be replayed.
        share: Share of the distinct objects, where neither ``objects`` nor ``size_bytes`` is given.
        tier_load: Share of the tier's time, where no ``tier`` is given. Half of an average fetch's server time is fixed
            and half goes with its size; the latency is ten times its server time, a hit a thousandth of a miss.
        values: Fields of `CacheConfig` to take as given. A ``tier`` may be a mapping with the discipline alone.

    Raises:
        HandrailError: The trace has no duration to size a tier by, or a field is wrong.
    """
    if values.get("objects") is None and values.get("size_bytes") is None:
        values["objects"] = max(int(share * trace.distinct_objects), 1)
    given = dict(values.pop("tier", None) or {})
    sized = not {"latency_s", "service_s", "bandwidth_bytes_per_s"} <= set(given)
    if sized and values.get("demand") != "timeless":
        if not trace.duration_s > 0:
            raise HandrailError(f"{trace.name}: all accesses come at one time, so no tier can be sized by it; give one")
        fetches, n_bytes = demand_misses(trace, CacheConfig.parse(**values))
        mean_bytes = n_bytes / max(fetches, 1) if n_bytes else float(np.mean(trace.size_bytes))
        service_s = tier_load * trace.duration_s / max(fetches, 1)
        measures = {
            "latency_s": LATENCY_IN_SERVICES * service_s,
            "service_s": FIXED_SHARE * service_s,
            "bandwidth_bytes_per_s": mean_bytes / ((1.0 - FIXED_SHARE) * service_s),
        }
        given = measures | given
    config = CacheConfig.parse(**values, tier=given)
    if "hit_s" not in values:
        config = config.model_copy(update={"hit_s": HIT_IN_MISSES * config.unloaded_miss_s})
    return config
