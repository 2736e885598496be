"""Raising or lowering the load of a trace, and saying by how much and what it did to the traffic.

Three ways, since compressing time also compresses think times and daily cycles:

- ``superpose``: k = ceil(f) copies of the window, each shifted in time (circularly), on top of each other, then thinned
  to f / k. Default for f > 1 if k <= 32 and the window lasts at least 30 s for each copy. With more copies than 32 only
  65,000 requests from the middle of the outcome are kept.
- ``thin``: each session (or lone request) is kept with probability f. Default for f < 1.
- ``compress``: time runs faster between sessions; within a session think times stay. Default otherwise, unless think
  times make it miss the factor by more than 10 %; then ``superpose``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..traces import RequestTrace
from ..traces.errors import HandrailError

LoadMethod = Literal["superpose", "thin", "compress"]
LOAD_METHODS: tuple[str, ...] = get_args(LoadMethod)

MAX_COPIES = 32
"""Most copies that the default rule superposes."""

MIN_SECONDS_PER_COPY = 30.0
"""Least seconds of the window for each copy, so that copies are far apart compared with a burst."""

KEPT_REQUESTS = 65_000
"""Requests that are kept of more than ``MAX_COPIES`` copies: with 50,000 of them measured, enough for a p99.9."""

MAX_SUPERPOSED = 20_000_000
"""Most requests that are made by superposing."""

MIN_FACTOR, MAX_FACTOR = 1e-6, 1e6
"""Factors on the arrival rate beyond these are slips."""

FACTOR_TOLERANCE = 1e-9
"""A factor this close to 1 changes nothing."""

LOAD_TOLERANCE = 0.125
"""Relative miss of the requested load that needs no remark."""

COMPRESS_ROUNDS = 12
"""Rounds in which compression makes up for sessions, whose think times do not shrink."""

COMPRESS_SHORTFALL = 0.9
"""Share of the factor that compression must reach to be the default."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests arrive.

    Attributes:
        requests: Their number.
        duration_s: From the first arrival to the last.
        rate_rps: Requests a second.
        interarrival_cv: Standard deviation over mean of the times between arrivals; None below 3 requests.
        fano_1s: Variance over mean of the counts in whole 1-second bins; None if there are fewer than 2 bins.
        fano_60s: The same in 60-second bins.
    """

    requests: int
    duration_s: float
    rate_rps: float | None
    interarrival_cv: float | None
    fano_1s: float | None
    fano_60s: float | None


@dataclass(frozen=True, slots=True)
class LoadChange:
    """What was done to a trace's rate and what came of it.

    Attributes:
        method: ``superpose``, ``thin``, ``compress``, or ``as-is``.
        factor: Requested factor on the arrival rate.
        copies: Copies that were superposed; 1 with other methods.
        compression: Factor by which time was compressed; 1 with other methods.
        target_load: Requested share of capacity; None where a factor or nothing was asked for.
        capacity_rps: Requests a second that the fleet serves with all arrivals at time 0; None where not measured.
        utilisation: Offered requests a second over ``capacity_rps``.
        before: Traffic of the window as recorded.
        after: Traffic as replayed.
    """

    method: str
    factor: float
    copies: int
    compression: float
    target_load: float | None
    capacity_rps: float | None
    utilisation: float | None
    before: Traffic
    after: Traffic

    def to_json(self) -> dict[str, Any]:
        """The fields, in JSON's types."""
        return asdict(self)

    def note(self) -> str | None:
        """A sentence if the load that was asked for was missed by more than an eighth, else None."""
        if self.target_load is None or self.utilisation is None:
            return None
        if abs(self.utilisation / self.target_load - 1.0) <= LOAD_TOLERANCE:
            return None
        return f"a load of {self.target_load:g} was asked for and {self.utilisation:.3f} reached"

    def sentence(self) -> str:
        """One line for people: how, by how much, and what it did to the traffic."""
        how = {
            "superpose": f"x {self.factor:.4g} by superposing {self.copies} time-shifted copies"
            + (f" and keeping {self.factor / self.copies:.1%}" if self.factor < self.copies else "")
            + (f", of which {self.after.requests:,} requests from the middle" if self.copies > MAX_COPIES else ""),
            "thin": f"x {self.factor:.4g} by thinning",
            "compress": f"x {self.compression:.4g} by compressing time",
            "as-is": "as recorded",
        }[self.method]
        parts = [f"load: {how}; {_number(self.before.rate_rps)} -> {_number(self.after.rate_rps)} requests/s"]
        if self.utilisation is not None:
            parts.append(f"utilisation {self.utilisation:.3f} of {_number(self.capacity_rps)} requests/s")
        for label, key in (("CV", "interarrival_cv"), ("Fano 1 s", "fano_1s"), ("Fano 60 s", "fano_60s")):
            parts.append(f"{label} {_number(getattr(self.before, key))} -> {_number(getattr(self.after, key))}")
        return "; ".join(parts)


def describe_traffic(arrival_s: NDArray[np.float64]) -> Traffic:
    """Rate and burstiness of arrival times (seconds, non-decreasing, shape (n,))."""
    n = len(arrival_s)
    duration_s = float(arrival_s[-1] - arrival_s[0]) if n else 0.0
    gaps = np.diff(arrival_s)
    cv = float(np.std(gaps) / np.mean(gaps)) if n >= 3 and duration_s > 0 else None
    rate = n / duration_s if duration_s > 0 else None
    return Traffic(n, duration_s, rate, cv, _fano(arrival_s, 1.0), _fano(arrival_s, 60.0))


def default_method(trace: RequestTrace, factor: float) -> str:
    """The way that the rule above takes for ``factor``."""
    if factor <= 1.0:
        return "thin"
    copies = math.ceil(factor)
    long_enough = trace.duration_s >= copies * MIN_SECONDS_PER_COPY
    return "superpose" if copies <= MAX_COPIES and long_enough else "compress"


def change_rate(
    trace: RequestTrace,
    factor: float,
    method: str | None = None,
    seed: int = 0,
    *,
    capacity_rps: float | None = None,
    target_load: float | None = None,
) -> tuple[RequestTrace, LoadChange]:
    """Multiply the arrival rate of ``trace`` by ``factor``.

    Args:
        trace: The window to be replayed.
        factor: Factor on the arrival rate, > 0.
        method: One of ``LOAD_METHODS``; by default what :func:`default_method` says.
        seed: Seed of shifts and of thinning.
        capacity_rps: What the fleet serves, for the achieved utilisation.
        target_load: The load that was asked for, for the record.

    Returns:
        The changed trace and what was done.

    Raises:
        HandrailError: The factor or method is none, the method cannot reach the factor, or no request is left.
    """
    if not (math.isfinite(factor) and MIN_FACTOR <= factor <= MAX_FACTOR):
        raise HandrailError(f"a rate factor must lie within {MIN_FACTOR:g} and {MAX_FACTOR:g}, not {factor:g}")
    if method is not None and method not in LOAD_METHODS:
        raise HandrailError(f"no way of changing the load is named {method!r}; choose one of {', '.join(LOAD_METHODS)}")
    if method == "thin" and factor > 1.0:
        raise HandrailError(f"thinning cannot raise the rate by {factor:.4g}; use superpose or compress")
    before = describe_traffic(trace.arrival_s)
    shift_seed, thin_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(2))
    copies, compression = 1, 1.0
    chosen = method or default_method(trace, factor)
    changed = trace
    if abs(factor - 1.0) < FACTOR_TOLERANCE:
        chosen = "as-is"
    elif chosen == "thin":
        changed = trace.thin(factor, thin_seed)
    elif chosen == "compress":
        changed, compression = _compress(trace, factor)
        reached = _reached(trace, changed)
        if reached < COMPRESS_SHORTFALL * factor:
            if method is not None:
                raise HandrailError(
                    f"{trace.name}: think times within sessions stay, so compressing raises the rate by "
                    f"{reached:.4g} at most, not by {factor:.4g}; use --load-by superpose"
                )
            chosen, compression = "superpose", 1.0
    if chosen == "superpose":
        copies = math.ceil(factor)
        changed = _superpose(trace, factor, copies, shift_seed, thin_seed)
    if len(changed) == 0:
        raise HandrailError(f"{trace.name}: no request is left at {factor:.4g} times its rate; use a longer window")
    after = describe_traffic(changed.arrival_s)
    utilisation = after.rate_rps / capacity_rps if capacity_rps and after.rate_rps is not None else None
    return changed, LoadChange(
        chosen, factor, copies, compression, target_load, capacity_rps, utilisation, before, after
    )


def change_load(
    trace: RequestTrace, target_load: float, capacity_rps: float, method: str | None = None, seed: int = 0
) -> tuple[RequestTrace, LoadChange]:
    """Bring ``trace`` to ``target_load`` of ``capacity_rps`` (requests/s); see :func:`change_rate`.

    Raises:
        HandrailError: The load is no positive number, the trace has no rate, or the method cannot reach the load.
    """
    if not (math.isfinite(target_load) and target_load > 0):
        raise HandrailError(f"--load must be a positive share of capacity, not {target_load:g}")
    rate = describe_traffic(trace.arrival_s).rate_rps
    if rate is None:
        raise HandrailError(f"{trace.name}: the window has no rate (fewer than two arrival times); use a longer one")
    factor = target_load * capacity_rps / rate
    return change_rate(trace, factor, method, seed, capacity_rps=capacity_rps, target_load=target_load)


def _superpose(trace: RequestTrace, factor: float, copies: int, shift_seed: int, thin_seed: int) -> RequestTrace:
    if copies * len(trace) > MAX_SUPERPOSED:
        raise HandrailError(
            f"{trace.name}: superposing {copies:,} copies of {len(trace):,} requests is too much; use compress"
        )
    changed = trace.superpose(copies, shift_seed) if copies > 1 else trace
    if factor < copies:
        changed = changed.thin(factor / copies, thin_seed)
    return _middle(changed, KEPT_REQUESTS) if copies > MAX_COPIES else changed


def _middle(trace: RequestTrace, n: int) -> RequestTrace:
    """``n`` successive requests around the middle one, away from the ends, where sessions are cut off."""
    first = max((len(trace) - n) // 2, 0)
    rows = np.arange(first, min(first + n, len(trace)))
    return trace.take(rows, trace.arrival_s[rows] - trace.arrival_s[first])


def _compress(trace: RequestTrace, factor: float) -> tuple[RequestTrace, float]:
    """Compress until the rate has grown by ``factor``, which takes more than that if sessions keep think times."""
    compression = factor
    changed = trace.scale_rate(compression)
    for _ in range(COMPRESS_ROUNDS):
        reached = _reached(trace, changed)
        if abs(reached / factor - 1.0) < 0.005:
            break
        compression *= factor / reached
        changed = trace.scale_rate(compression)
    return changed, compression


def _reached(trace: RequestTrace, changed: RequestTrace) -> float:
    """By which factor the same requests now come faster."""
    return trace.duration_s / changed.duration_s if changed.duration_s > 0 else math.inf


def _fano(arrival_s: NDArray[np.float64], bin_s: float) -> float | None:
    if len(arrival_s) == 0:
        return None
    since = arrival_s - arrival_s[0]
    n_bins = int(since[-1] // bin_s)
    if n_bins < 2:
        return None
    counts = np.bincount((since[since < n_bins * bin_s] / bin_s).astype(np.int64), minlength=n_bins)[:n_bins]
    return float(np.var(counts) / np.mean(counts)) if counts.any() else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
