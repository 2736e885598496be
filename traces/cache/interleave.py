"""Several traces at once in front of one cache: each becomes a tenant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from .access_trace import AccessTrace
from .transforms import apart, writes_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def interleave(
    traces: Sequence[AccessTrace],
    names: Sequence[str] | None = None,
    seed: int = 0,
    *,
    offsets: bool = True,
    durations: Literal["repeat", "stretch"] | str = "repeat",
    rates_per_s: Sequence[float | None] | None = None,
) -> AccessTrace:
    """Merge traces; each is one tenant of the result, whatever tenants it had, with keys of its own.

    Each trace is bent to a circle: its span, closed by one mean inter-arrival time. First its time is stretched to the
    wanted rate, then it is turned by a uniform offset drawn from a stream of its own (so that adding a trace leaves the
    others as they were), then brought to the span of the longest. The first trace's keys stay, those of the others move
    by a constant each, so neighbours stay neighbours.

    Args:
        traces: At least one, none empty.
        names: Tenant names, by default the traces' names; they must differ.
        seed: Of the offsets.
        offsets: Turn each trace on its circle; false leaves them as they begin.
        durations: How a shorter trace gets to the longest one's span: ``repeat`` goes around its circle again and again
            (equal keys, so it meets its own objects again), ``stretch`` slows it down.
        rates_per_s: Mean accesses a second of each trace, ``None`` for its own.

    Returns:
        The merged trace, from time 0 on. ``backing`` is ``seen`` where that of any trace is: what was never accessed
        cannot be prefetched then, for anyone.

    Raises:
        TraceError: Nothing to merge, names that do not fit, a rate that is no finite number above 0, or keys that do
            not fit into int64 side by side.
    """
    names = [trace.name for trace in traces] if names is None else list(names)
    rates: list[float | None] = [None] * len(traces) if rates_per_s is None else list(rates_per_s)
    _check(traces, names, rates, seed, durations)
    circles = [_circle(trace, rate) for trace, rate in zip(traces, rates, strict=True)]
    span_s = max(length_s for _, length_s in circles)
    seeds = np.random.SeedSequence(seed).spawn(len(traces))
    arrivals: list[Floats] = []
    rows: list[Ints] = []
    for (since_s, length_s), own in zip(circles, seeds, strict=True):
        if durations == "stretch" and length_s > 0:
            since_s, length_s = since_s * (span_s / length_s), span_s
        offset_s = float(np.random.default_rng(own).random()) * length_s if offsets else 0.0
        turned_s, turned = _turned(since_s, length_s, offset_s)
        arrival_s, row = _repeated(turned_s, turned, length_s, span_s)
        arrivals.append(arrival_s)
        rows.append(row)
    keys = apart([trace.key for trace in traces])
    return _merged(traces, names, keys, rows, arrivals)


def _check(
    traces: Sequence[AccessTrace], names: list[str], rates: list[float | None], seed: int, durations: str
) -> None:
    if not traces or any(len(trace) == 0 for trace in traces):
        raise TraceError("interleave needs at least one trace, and none of them empty")
    if len(names) != len(traces) or len(set(names)) != len(names):
        raise TraceError(f"interleave needs one name a trace, all different, got {', '.join(names)}")
    if len(rates) != len(traces):
        raise TraceError(f"interleave needs one rate a trace, got {len(rates)} for {len(traces)} traces")
    for rate in rates:
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise TraceError(f"a rate must be a finite number above 0, got {rate}")
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    if durations not in ("repeat", "stretch"):
        raise TraceError(f"durations must be repeat or stretch, got {durations!r}")


def _circle(trace: AccessTrace, rate_per_s: float | None) -> tuple[Floats, float]:
    """Times since the trace's first access, and the length of its circle, in seconds."""
    n = len(trace)
    since_s = trace.arrival_s - trace.arrival_s[0]
    length_s = trace.duration_s * (n / (n - 1)) if n > 1 else 0.0
    if rate_per_s is None or length_s == 0:
        return since_s, length_s
    factor = n / rate_per_s / length_s
    return since_s * factor, length_s * factor


def _turned(since_s: Floats, length_s: float, offset_s: float) -> tuple[Floats, Ints]:
    shifted_s = since_s + offset_s
    past = shifted_s >= length_s if length_s > 0 else np.zeros(len(since_s), np.bool_)
    turned_s = np.where(past, shifted_s - length_s, shifted_s)
    order = np.argsort(turned_s, kind="stable")
    return turned_s[order], order


def _repeated(turned_s: Floats, rows: Ints, length_s: float, span_s: float) -> tuple[Floats, Ints]:
    """The circle gone around until the span is full, the last round cut off."""
    rounds = math.ceil(span_s / length_s) if length_s > 0 else 1
    starts_s = np.repeat(np.arange(rounds) * length_s, len(turned_s))
    arrival_s = starts_s + np.tile(turned_s, rounds)
    kept = arrival_s <= span_s
    return arrival_s[kept], np.tile(rows, rounds)[kept]


def _merged(
    traces: Sequence[AccessTrace], names: list[str], keys: list[Ints], rows: list[Ints], arrivals: list[Floats]
) -> AccessTrace:
    arrival_s = np.concatenate(arrivals)
    order = np.argsort(arrival_s, kind="stable")
    code = np.repeat(np.arange(len(traces)), [len(own) for own in rows])
    writes = np.concatenate([writes_of(trace)[own] for trace, own in zip(traces, rows, strict=True)])
    sizes = np.concatenate([trace.size_bytes[own] for trace, own in zip(traces, rows, strict=True)])
    key = np.concatenate([key[own] for key, own in zip(keys, rows, strict=True)])
    parts = {name: trace.content_hash for name, trace in zip(names, traces, strict=True)}
    return AccessTrace(
        arrival_s=arrival_s[order],
        key=key[order],
        size_bytes=sizes[order],
        is_write=writes[order] if writes.any() else None,
        tenant=code[order],
        tenant_names=tuple(names),
        backing="seen" if any(trace.backing == "seen" for trace in traces) else "all",
        name="+".join(names),
        notes={"format": "interleaved", "rows": len(order), "origin_s": 0.0, "parts": parts},
    )
