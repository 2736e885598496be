"""What an access trace looks like in numbers, and how far two of them are apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.statistics import (
    ColumnDistance,
    distance,
    fano_factor,
    interarrival_cv,
    peak_to_mean,
    quantiles,
)
from .access_trace import AccessTrace
from .reuse import stack_distances
from .transforms import writes_of

Ints = NDArray[np.int64]

CACHE_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
_TOP_DELTAS = 5
_FEWEST_OF_A_DELTA = 0.001
_MINUTE_S = 60.0


@dataclass(frozen=True)
class TenantSummary:
    """One tenant's part.

    Attributes:
        accesses: Its share of the accesses.
        objects: Different objects that it accesses.
        writes: Share of its accesses that write.
        one_hit: Share of its objects that it accesses once.
        next_id: Share of its accesses to the id after that of its access before.
        known_pair: Share of its accesses to what followed the last time that its access before was made: what a table
            of pairs would foresee.
    """

    accesses: float
    objects: int
    writes: float
    one_hit: float
    next_id: float | None
    known_pair: float | None


@dataclass(frozen=True)
class AccessSummary:
    """One trace in numbers; ``None`` where a trace is too short for a number to mean anything.

    Attributes:
        accesses: Number of accesses.
        distinct_objects: Different objects among them.
        footprint_bytes: Their sizes together, the largest of each.
        accessed_bytes: Sizes of all accesses together.
        backing: ``all`` or ``seen``.
        duration_s: Seconds from the first access to the last.
        rate_per_s: Accesses over duration.
        writes: Share of accesses that write.
        one_hit: Share of objects that are accessed once.
        deltas: Shares of the differences of the ids of two accesses in a row of one tenant, the most frequent ones (a
            share of 0.1 % or more) and 1, by difference.
        known_pair: As in ``TenantSummary``, over all tenants.
        size_bytes: Mean, quantiles (linear) and maximum, over accesses.
        reuse_distance: Likewise, of the LRU stack distance in objects, over the accesses that come again.
        lru_hit_ratio: Share of accesses that hit an LRU cache without prefetching, by its share of the distinct objects
            (``"10%"``); object mode.
        interarrival_cv: Standard deviation over mean of the gaps between accesses.
        fano_1s: Variance over mean of the counts in whole seconds from the first access (Poisson: 1).
        peak_to_mean_60s: Busiest whole minute over the mean of the whole minutes.
        tenants: By tenant, empty where the trace knows none.
        content_hash: SHA-256 of the columns.
    """

    accesses: int
    distinct_objects: int
    footprint_bytes: int
    accessed_bytes: int
    backing: str
    duration_s: float
    rate_per_s: float | None
    writes: float
    one_hit: float | None
    deltas: dict[str, float]
    known_pair: float | None
    size_bytes: dict[str, float]
    reuse_distance: dict[str, float]
    lru_hit_ratio: dict[str, float]
    interarrival_cv: float | None
    fano_1s: float | None
    peak_to_mean_60s: float | None
    tenants: dict[str, TenantSummary]
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(trace: AccessTrace) -> AccessSummary:
    """The summary of a trace."""
    rows = [trace.rows_of_tenant(code) for code in range(trace.n_tenants)]
    deltas = np.concatenate([np.diff(trace.key[own]) for own in rows]) if rows else np.zeros(0, np.int64)
    known = [_known_pairs(trace.key[own]) for own in rows]
    distances = stack_distances(trace.key)
    duration_s = trace.duration_s
    return AccessSummary(
        accesses=len(trace),
        distinct_objects=trace.distinct_objects,
        footprint_bytes=_footprint_bytes(trace),
        accessed_bytes=int(trace.size_bytes.sum()),
        backing=trace.backing,
        duration_s=duration_s,
        rate_per_s=len(trace) / duration_s if duration_s > 0 else None,
        writes=_mean(writes_of(trace)) or 0.0,
        one_hit=_one_hit(trace.key),
        deltas=_delta_shares(deltas),
        known_pair=_mean(np.concatenate(known)) if known else None,
        size_bytes=quantiles(trace.size_bytes),
        reuse_distance=quantiles(distances[distances > 0]),
        lru_hit_ratio=_lru_hit_ratios(distances, trace.distinct_objects),
        interarrival_cv=interarrival_cv(trace.arrival_s),
        fano_1s=fano_factor(trace.arrival_s, 1.0),
        peak_to_mean_60s=peak_to_mean(trace.arrival_s, _MINUTE_S),
        tenants={} if trace.tenant is None else _tenants(trace, rows, known),
        content_hash=trace.content_hash,
    )


def compare_traces(a: AccessTrace, b: AccessTrace) -> dict[str, ColumnDistance]:
    """Distances of sizes, reuse distances (``reuse_distance``) and gaps (``interarrival_s``), by column.

    A column that one of the traces has nothing for (no object comes again, fewer than two accesses) is left out.
    """
    columns: dict[str, list[NDArray[Any]]] = {"size_bytes": [t.size_bytes for t in (a, b)]}
    columns["reuse_distance"] = [found[found > 0] for found in (stack_distances(t.key) for t in (a, b))]
    columns["interarrival_s"] = [np.diff(t.arrival_s) for t in (a, b)]
    return {name: distance(x, y) for name, (x, y) in columns.items() if len(x) and len(y)}


def _footprint_bytes(trace: AccessTrace) -> int:
    order = np.lexsort((trace.size_bytes, trace.key))
    last = np.diff(trace.key[order], append=-1) != 0
    return int(trace.size_bytes[order][last].sum())


def _one_hit(key: Ints) -> float | None:
    return _mean(np.unique(key, return_counts=True)[1] == 1)


def _delta_shares(deltas: Ints) -> dict[str, float]:
    if len(deltas) == 0:
        return {}
    values, counts = np.unique(deltas, return_counts=True)
    top = np.lexsort((values, -counts))[:_TOP_DELTAS]
    frequent = top[counts[top] >= _FEWEST_OF_A_DELTA * len(deltas)]
    shares = {str(values[at]): float(counts[at] / len(deltas)) for at in frequent.tolist()}
    return {"1": float((deltas == 1).mean()), **shares}


def _known_pairs(key: Ints) -> NDArray[np.bool_]:
    """For each access but the first: whether it is to what followed the last time that the one before was made."""
    if len(key) < 2:
        return np.zeros(0, np.bool_)
    before, after = key[:-1], key[1:]
    order = np.argsort(before, kind="stable")
    again = np.diff(before[order]) == 0
    known = np.zeros(len(after), np.bool_)
    known[order[1:][again]] = after[order[1:][again]] == after[order[:-1][again]]
    return known


def _lru_hit_ratios(distances: Ints, objects: int) -> dict[str, float]:
    if len(distances) == 0:
        return {}
    hits = {share: (distances > 0) & (distances <= int(share * objects)) for share in CACHE_SHARES}
    return {f"{share:.0%}": float(hit.mean()) for share, hit in hits.items()}


def _tenants(trace: AccessTrace, rows: list[Ints], known: list[NDArray[np.bool_]]) -> dict[str, TenantSummary]:
    writes = writes_of(trace)
    summaries = {}
    for name, own, pairs in zip(trace.tenant_names, rows, known, strict=True):
        key = trace.key[own]
        if len(key):
            summaries[name] = TenantSummary(
                accesses=len(own) / len(trace),
                objects=len(np.unique(key)),
                writes=float(writes[own].mean()),
                one_hit=_one_hit(key) or 0.0,
                next_id=_mean(np.diff(key) == 1),
                known_pair=_mean(pairs),
            )
    return summaries


def _mean(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None
