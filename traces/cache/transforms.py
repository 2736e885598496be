"""How an access trace's load is raised, and how two traces become one: pure functions behind the trace's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import joined_names
from ..errors import TraceError

if TYPE_CHECKING:
    from .access_trace import AccessTrace

Ints = NDArray[np.int64]
# Between two ranges of keys: a prefetcher that runs over the end of one range does not land in the next.
KEY_GAP = 1 << 20
_KEY_END = 2**63


def superposed(trace: AccessTrace, k: int, seed: int) -> AccessTrace:
    if k < 1 or k != int(k):
        raise TraceError(f"superpose needs a whole number of copies of at least 1, got {k}")
    k, n = int(k), len(trace)
    if k == 1 or n == 0:
        return trace
    origin_s = trace.arrival_s[0]
    circle_s = trace.duration_s * (n / (n - 1)) if n > 1 else 0.0
    arrivals = [trace.arrival_s]
    for offset_s in np.random.default_rng(seed).random(k - 1) * circle_s:
        shifted_s = trace.arrival_s - origin_s + offset_s
        arrivals.append((np.mod(shifted_s, circle_s) if circle_s > 0 else shifted_s) + origin_s)
    arrival_s = np.concatenate(arrivals)
    order = np.argsort(arrival_s, kind="stable")
    keys = np.concatenate(apart([trace.key] * k))
    return trace.take(np.tile(np.arange(n), k)[order], arrival_s[order]).replace(key=keys[order])


def apart(keys: list[Ints]) -> list[Ints]:
    """Keys of several traces moved to ranges of their own, the first range left where it is, neighbours kept.

    Raises:
        TraceError: The ranges together do not fit into int64.
    """
    moved: list[Ints] = []
    end: int | None = None
    for own in keys:
        if len(own) == 0:
            moved.append(own)
            continue
        low, high = int(own.min()), int(own.max())
        shift = 0 if end is None else end + KEY_GAP - low
        if high + shift >= _KEY_END:
            raise TraceError("the keys span too wide a range to be put side by side; renumber them (permute=True)")
        moved.append(own + shift)
        end = high + shift + 1
    return moved


def concatenated(first: AccessTrace, second: AccessTrace) -> AccessTrace:
    if len(second) == 0:
        return first
    if len(first) == 0:
        return second
    gap_s = first.duration_s / max(len(first) - 1, 1)
    shift_s = first.arrival_s[-1] + gap_s - second.arrival_s[0]
    later_s = np.maximum(second.arrival_s + shift_s, first.arrival_s[-1])
    changes: dict[str, Any] = {
        "arrival_s": np.concatenate((first.arrival_s, later_s)),
        "key": np.concatenate((first.key, second.key)),
        "size_bytes": np.concatenate((first.size_bytes, second.size_bytes)),
        "backing": "seen" if "seen" in (first.backing, second.backing) else "all",
    }
    if first.is_write is not None or second.is_write is not None:
        changes["is_write"] = np.concatenate([writes_of(trace) for trace in (first, second)])
    if first.tenant is not None or second.tenant is not None:
        parts = [(len(t), t.tenant, t.tenant_names) for t in (first, second)]
        changes["tenant"], changes["tenant_names"] = joined_names(parts)
    return first.replace(**changes)


def writes_of(trace: AccessTrace) -> NDArray[np.bool_]:
    """Which accesses write, shape (n,); none where the trace knows no writes."""
    return np.zeros(len(trace), np.bool_) if trace.is_write is None else trace.is_write
