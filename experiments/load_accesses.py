"""The load that an access trace puts on a backing tier: measuring it, changing it, and saying what was done.

The *demand load* is the share of the time from the first access to the last that the tier's server needs for demand
misses alone: without prefetching, and as if no fetch took time (so that it does not depend on how accesses queue).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.prefetch import CacheConfig
from ..envs.prefetch.eviction import make_eviction
from ..traces import AccessTrace
from ..traces.errors import HandrailError
from .load import LOAD_TOLERANCE
from .rescale import MAX_COPIES, Kind, rescale

ACCESSES = Kind("accesses", "access", min_copy_s=30.0)

OVERLOAD = 0.95
"""Demand load that a tier cannot keep up with, so that a comparison would measure the trace's length."""

N_WINDOWS = 10
"""Parts of the time for which the demand load is given."""

DEFAULT_METHOD = "compress"
"""Thinning tears streams apart and superposing mixes them: both change what there is to prefetch."""


@dataclass(frozen=True, slots=True)
class AccessTraffic:
    """How accesses come.

    Attributes:
        accesses: Their number.
        duration_s: From the first access to the last.
        accesses_per_s: Accesses a second; None where the duration is 0.
        interarrival_cv: Standard deviation over mean of the times between accesses; None below 3 accesses.
        miss_ratio: Share of the accesses that miss without prefetching.
        demand_load: Demand load; None where the duration is 0.
        window_loads: The same of each tenth of the time.
    """

    accesses: int
    duration_s: float
    accesses_per_s: float | None
    interarrival_cv: float | None
    miss_ratio: float
    demand_load: float | None
    window_loads: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AccessLoadChange:
    """What was done to an access trace's rate and what came of it.

    Attributes:
        method: ``superpose``, ``thin``, ``compress``, or ``as-is``.
        factor: Requested factor on the access rate.
        copies: Copies that were superposed; 1 with other methods.
        compression: Factor by which time was compressed (below 1: stretched); 1 with other methods.
        target_load: Requested demand load; None where a factor or nothing was asked for.
        before: Traffic of the window as recorded; None where accesses do not come at the trace's times.
        after: Traffic as replayed; None likewise.
    """

    method: str
    factor: float
    copies: int
    compression: float
    target_load: float | None
    before: AccessTraffic | None
    after: AccessTraffic | None

    @property
    def utilisation(self) -> float | None:
        """The demand load as replayed."""
        return None if self.after is None else self.after.demand_load

    def to_json(self) -> dict[str, Any]:
        """The fields and the demand load, in JSON's types."""
        return {**asdict(self), "utilisation": self.utilisation}

    def note(self) -> str | None:
        """A sentence if demand alone is too much, at all or at times, or the load was missed by more than an eighth."""
        load = self.utilisation
        if self.after is None or load is None:
            return None
        if load > OVERLOAD and self.target_load is None:
            needs = f"demand misses alone need {load:.3f} of the backing tier"
            return f"{needs}, which cannot keep up; --load 0.6 brings it down"
        if self.target_load is not None and abs(load / self.target_load - 1.0) > LOAD_TOLERANCE:
            return f"a load of {self.target_load:g} was asked for and {load:.3f} reached"
        over = [at for at in self.after.window_loads if at > 1.0]
        if not over:
            return None
        return (
            f"accesses come in bursts: in {len(over)} of {N_WINDOWS} tenths of the time demand misses alone need up to "
            f"{max(over):.2f} of the backing tier, which cannot keep up; a lower --tier-load or --load brings that down"
        )

    def sentence(self) -> str:
        """One line for people: how, by how much, and how the backing tier is loaded."""
        before, after = self.before, self.after
        if before is None or after is None:
            return "load: accesses come as those before them end, not at the trace's times"
        how = {
            "superpose": f"x {self.factor:.4g} by superposing {self.copies} time-shifted copies"
            + (f" and keeping {self.factor / self.copies:.1%}" if self.factor < self.copies else "")
            + (f", of which {after.accesses:,} accesses from the middle" if self.copies > MAX_COPIES else ""),
            "thin": f"x {self.factor:.4g} by thinning",
            "compress": f"x {self.compression:.4g} by {'compressing' if self.compression > 1 else 'stretching'} time",
            "as-is": "as recorded",
        }[self.method]
        grows = " (which cannot keep up)" if (after.demand_load or 0.0) > OVERLOAD else ""
        parts = [
            f"load: {how}; {_number(before.accesses_per_s)} -> {_number(after.accesses_per_s)} accesses/s",
            f"demand misses use {_number(before.demand_load)} -> {_number(after.demand_load)} of the tier{grows}",
            f"by tenth of the time {' '.join(f'{w:.2f}' for w in after.window_loads) or '-'}",
            f"miss ratio {before.miss_ratio:.3f} -> {after.miss_ratio:.3f}",
            f"CV {_number(before.interarrival_cv)} -> {_number(after.interarrival_cv)}",
        ]
        return "; ".join(parts)


def keeps_times(system: CacheConfig) -> bool:
    """Whether accesses come by the trace's times, so that it has a rate to change."""
    return system.demand in ("open", "paced")


def demand_misses(trace: AccessTrace, system: CacheConfig) -> NDArray[np.bool_]:
    """Which accesses need the tier without prefetching, as if no fetch took time, shape (n,).

    A write of an object that is not there counts: it needs no fetch, but will be written back.
    """
    future = (trace.next_row, trace.key) if system.eviction == "belady" else (None, None)
    cache = make_eviction(system.eviction, system.capacity, *future)
    missed = np.zeros(len(trace), dtype=bool)
    units = trace.size_bytes.tolist() if system.by_bytes else [1] * len(trace)
    for row, key in enumerate(trace.key.tolist()):
        cache.at(row)
        if not cache.touch(key):
            missed[row] = True
            cache.insert(key, units[row])
    return missed


def describe_access_traffic(
    trace: AccessTrace, system: CacheConfig, missed: NDArray[np.bool_] | None = None
) -> AccessTraffic:
    """Rate, burstiness and demand load, over the whole time and by tenth of it.

    Args:
        trace: The accesses.
        system: The cache and the tier.
        missed: What ``demand_misses`` says, where that is known.
    """
    n, duration_s = len(trace), trace.duration_s
    missed = demand_misses(trace, system) if missed is None else missed
    held_s = np.where(missed, system.tier.service_s + trace.size_bytes / system.tier.bandwidth_bytes_per_s, 0.0)
    gaps_s = np.diff(trace.arrival_s)
    cv = float(np.std(gaps_s) / np.mean(gaps_s)) if n >= 3 and duration_s > 0 else None
    windows: tuple[float, ...] = ()
    if duration_s > 0:
        part_s = duration_s / N_WINDOWS
        place = np.minimum(((trace.arrival_s - trace.arrival_s[0]) / part_s).astype(np.int64), N_WINDOWS - 1)
        windows = tuple(float(x) for x in np.bincount(place, held_s, N_WINDOWS) / part_s)
    return AccessTraffic(
        n,
        duration_s,
        n / duration_s if duration_s > 0 else None,
        cv,
        float(missed.mean()),
        float(held_s.sum()) / duration_s if duration_s > 0 else None,
        windows,
    )


def change_access_rate(
    trace: AccessTrace,
    factor: float,
    system: CacheConfig,
    method: str | None = None,
    seed: int = 0,
) -> tuple[AccessTrace, AccessLoadChange]:
    """Multiply the rate of ``trace`` by ``factor``; see :func:`~handrail.experiments.rescale.rescale`.

    Args:
        trace: The window to be replayed.
        factor: Factor on the access rate, > 0.
        system: The cache and the tier, for the demand load.
        method: One of ``LOAD_METHODS``; by default time is compressed, which alone keeps the sequence as it is.
        seed: Seed of shifts and of thinning.

    Raises:
        HandrailError: The factor or method is none, the method cannot reach the factor, or no access is left.
    """
    if not keeps_times(system):
        return trace, AccessLoadChange("as-is", 1.0, 1, 1.0, None, None, None)
    return _change(trace, factor, system, method, seed, demand_misses(trace, system), None)


def change_access_load(
    trace: AccessTrace, target_load: float, system: CacheConfig, method: str | None = None, seed: int = 0
) -> tuple[AccessTrace, AccessLoadChange]:
    """Bring ``trace`` to a demand load of ``target_load``; see :func:`change_access_rate`.

    Raises:
        HandrailError: The load is no positive number, the trace has none, or the method cannot reach it.
    """
    if not (math.isfinite(target_load) and target_load > 0):
        raise HandrailError(f"--load must be a positive share of the tier's time, not {target_load:g}")
    missed = demand_misses(trace, system)
    load = describe_access_traffic(trace, system, missed).demand_load
    if not load:
        raise HandrailError(
            f"{trace.name}: the window puts no load on the backing tier (no misses, all accesses at once, or a tier "
            "that takes no time); use a longer one, a smaller cache, or --rate"
        )
    return _change(trace, target_load / load, system, method, seed, missed, target_load)


def _change(
    trace: AccessTrace,
    factor: float,
    system: CacheConfig,
    method: str | None,
    seed: int,
    missed: NDArray[np.bool_],
    target_load: float | None,
) -> tuple[AccessTrace, AccessLoadChange]:
    changed, chosen, copies, compression = rescale(trace, factor, method or DEFAULT_METHOD, seed, ACCESSES)
    before = describe_access_traffic(trace, system, missed)
    same_sequence = chosen in ("as-is", "compress")
    after = describe_access_traffic(changed, system, missed if same_sequence else None)
    return changed, AccessLoadChange(chosen, factor, copies, compression, target_load, before, after)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
