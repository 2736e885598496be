"""More traffic within a window, taken from the trace itself: what was there stays, row by row, and more comes between.

A copy of the trace is turned by a seeded offset on the circle of its span, as superposing does it, thinned in whole
groups, and what falls into the window is merged in. Lengths, run times and patterns are so the trace's own. Sessions of
requests move as a whole, so think times stay (what reaches over an edge of the window is cut there); accesses are
thinned in runs, so that sequential stays sequential, and each copy has keys of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace, RequestTrace
from ...traces.cache.transforms import apart
from ...traces.llm.transforms import group_bounds, session_groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rate = Callable[[Floats], Floats]
"""From times in seconds to the share of a copy that is kept there, in [0, 1]."""

RUN_ACCESSES = 256
"""Neighbouring accesses of a copy that are kept or left out together."""


def extra(trace: Any, window_s: tuple[float, float], copies: int, share: float | Rate, rng: np.random.Generator) -> Any:
    """What turned copies of ``trace`` bring into a window, in order of time.

    Args:
        trace: A request, job or access trace.
        window_s: [start, end) in the trace's time.
        copies: How many.
        share: Part of each copy that is kept; by time where it is a function.
        rng: Draws offsets and what is kept.

    Returns:
        A trace of the same kind, perhaps empty.
    """
    parts = [_turned(trace, window_s, share, rng) for _ in range(copies)]
    total = parts[0]
    for part in parts[1:]:
        total = merged(total, part)
    return total


def merged(trace: Any, other: Any) -> Any:
    """Two traces at their own times; sessions, prefixes and keys of ``other`` are its own, tenants of one name one."""
    if len(other) == 0:
        return trace
    if len(trace) == 0:
        return other
    if isinstance(trace, AccessTrace):
        other = other.replace(key=apart([trace.key, other.key])[1])
    arrival_s = np.concatenate((trace.arrival_s, other.arrival_s))
    order = np.argsort(arrival_s, kind="stable")
    return trace.concat(other).take(order, arrival_s[order])


def groups_of(trace: Any) -> tuple[Ints, int]:
    """A group number a row, shape (n,), and how many there are: what is kept or left out together."""
    n = len(trace)
    if isinstance(trace, RequestTrace):
        return session_groups(n, trace.session_id)
    if isinstance(trace, AccessTrace):
        return np.arange(n) // RUN_ACCESSES, -(-n // RUN_ACCESSES)
    return np.arange(n), n


def _turned(trace: Any, window_s: tuple[float, float], share: float | Rate, rng: np.random.Generator) -> Any:
    n = len(trace)
    origin_s = float(trace.arrival_s[0])
    circle_s = trace.duration_s * (n / (n - 1)) if n > 1 else 0.0
    offset_s = float(rng.random()) * circle_s
    groups, count = groups_of(trace)
    if isinstance(trace, AccessTrace) or circle_s <= 0.0:
        moved_s = trace.arrival_s - origin_s + offset_s
        arrival_s = (np.mod(moved_s, circle_s) if circle_s > 0.0 else moved_s) + origin_s
    else:
        first_s, last_s = group_bounds(trace.arrival_s, groups, count)
        room_s = np.maximum(circle_s - (last_s - first_s), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            start_s = np.where(room_s > 0.0, np.mod(first_s - origin_s + offset_s, room_s), 0.0) + origin_s
        arrival_s = start_s[groups] + (trace.arrival_s - first_s[groups])
    inside = (arrival_s >= window_s[0]) & (arrival_s < window_s[1])
    kept = rng.random(count)[groups] < (share(arrival_s) if callable(share) else share)
    rows = np.flatnonzero(inside & kept)
    rows = rows[np.argsort(arrival_s[rows], kind="stable")]
    return trace.take(rows, arrival_s[rows])
