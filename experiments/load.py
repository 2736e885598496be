"""The load of a request trace: changing its rate, and saying by how much and what it did to the traffic."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..traces import RequestTrace
from ..traces.errors import HandrailError
from .rescale import MAX_COPIES, Kind, rescale

REQUESTS = Kind("requests", "request", min_copy_s=30.0)

LOAD_TOLERANCE = 0.125
"""Relative miss of the requested load that needs no remark."""


class RateChange(Protocol):
    """What was done to a trace's rate, in any domain.

    Attributes:
        method: ``superpose``, ``thin``, ``compress``, or ``as-is``.
        factor: Requested factor on the arrival rate.
        compression: Factor by which time was compressed; 1 with other methods.
        utilisation: Offered load over capacity; None where not known.
    """

    @property
    def method(self) -> str: ...
    @property
    def factor(self) -> float: ...
    @property
    def compression(self) -> float: ...
    @property
    def utilisation(self) -> float | None: ...

    def to_json(self) -> dict[str, Any]:
        """All that is known of it, in JSON's types."""
        ...

    def note(self) -> str | None:
        """A sentence if what was asked for was missed, else None."""
        ...

    def sentence(self) -> str:
        """One line for people."""
        ...


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


def change_rate(
    trace: RequestTrace,
    factor: float,
    method: str | None = None,
    seed: int = 0,
    *,
    capacity_rps: float | None = None,
    target_load: float | None = None,
) -> tuple[RequestTrace, LoadChange]:
    """Multiply the arrival rate of ``trace`` by ``factor``; see :func:`~handrail.experiments.rescale.rescale`.

    Args:
        trace: The window to be replayed.
        factor: Factor on the arrival rate, > 0.
        method: One of ``LOAD_METHODS``; by default what ``default_method`` says.
        seed: Seed of shifts and of thinning.
        capacity_rps: What the fleet serves, for the achieved utilisation.
        target_load: The load that was asked for, for the record.

    Returns:
        The changed trace and what was done.

    Raises:
        HandrailError: The factor or method is none, the method cannot reach the factor, or no request is left.
    """
    changed, chosen, copies, compression = rescale(trace, factor, method, seed, REQUESTS)
    before, after = describe_traffic(trace.arrival_s), describe_traffic(changed.arrival_s)
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
