"""How a trace's load is raised and lowered: compress, thin, superpose, concatenate.

Pure functions behind the methods of ``RequestTrace``; each keeps sessions together and is deterministic in its seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import joined_names
from ..errors import TraceError

if TYPE_CHECKING:
    from .request_trace import RequestTrace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def in_order(trace: RequestTrace, arrival_s: Floats) -> RequestTrace:
    """The trace with new arrival times, sorted by them (ties keep their order)."""
    order = np.argsort(arrival_s, kind="stable")
    return trace.take(order, arrival_s[order])


def take_ragged(offsets: Ints, ids: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Rows of a ragged array (``ids[offsets[i]:offsets[i + 1]]`` is row i), as new offsets and ids."""
    lengths = np.diff(offsets)[rows]
    new_offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    starts = np.repeat(offsets[:-1][rows] - new_offsets[:-1], lengths)
    return new_offsets, ids[starts + np.arange(new_offsets[-1])]


def session_groups(n: int, session_id: Ints | None) -> tuple[Ints, int]:
    """A group number for each request, shape (n,), and the number of groups.

    The requests of a session form one group, each request without a session is one of its own. Groups are numbered in
    the order of their first request, so that what is drawn per group does not depend on how sessions are labelled.
    """
    if session_id is None:
        return np.arange(n), n
    keys = np.where(session_id >= 0, session_id, -1 - np.arange(n))
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse], len(first)


def group_bounds(arrival_s: Floats, groups: Ints, count: int) -> tuple[Floats, Floats]:
    """First and last arrival of each group, both of shape (count,); arrivals must be in order."""
    first, last = np.empty(count), np.empty(count)
    last[groups] = arrival_s
    first[groups[::-1]] = arrival_s[::-1]
    return first, last


def compressed(arrival_s: Floats, session_id: Ints | None, factor: float) -> Floats:
    """Arrival times, not in order any more, with session starts divided by ``factor`` and think times kept."""
    if session_id is None:
        return arrival_s / factor
    groups, count = session_groups(len(arrival_s), session_id)
    start_s, _ = group_bounds(arrival_s, groups, count)
    return start_s[groups] / factor + (arrival_s - start_s[groups])


def thinning_mask(n: int, session_id: Ints | None, p: float, seed: int) -> NDArray[np.bool_]:
    if not 0 < p <= 1:
        raise TraceError(f"thin keeps a share in (0, 1] of the requests, got {p}")
    groups, count = session_groups(n, session_id)
    return (np.random.default_rng(seed).random(count) < p)[groups]


def superposed(trace: RequestTrace, k: int, seed: int) -> RequestTrace:
    if k < 1 or k != int(k):
        raise TraceError(f"superpose needs a whole number of copies of at least 1, got {k}")
    k, n = int(k), len(trace)
    if k == 1 or n == 0:
        return trace
    origin_s = trace.arrival_s[0]
    circle_s = trace.duration_s * (n / (n - 1)) if n > 1 else 0.0
    offsets_s = np.concatenate(([0.0], np.random.default_rng(seed).random(k - 1) * circle_s))
    groups, count = session_groups(n, trace.session_id)
    start_s, end_s = group_bounds(trace.arrival_s, groups, count)
    room_s = np.maximum(circle_s - (end_s - start_s), 0.0)
    arrivals = [trace.arrival_s]
    for offset_s in offsets_s[1:]:
        with np.errstate(invalid="ignore", divide="ignore"):
            new_start_s = np.where(room_s > 0, np.mod(start_s - origin_s + offset_s, room_s), 0.0) + origin_s
        arrivals.append(new_start_s[groups] + (trace.arrival_s - start_s[groups]))
    changes: dict[str, Any] = {}
    copy = np.repeat(np.arange(k), n)
    if trace.session_id is not None:
        changes["session_id"] = _distinct(np.tile(trace.session_id, k), copy)
    wide = trace.take(np.tile(np.arange(n), k), np.zeros(n * k))
    if wide.prefix_blocks is not None:
        offsets, ids = wide.prefix_blocks
        changes["prefix_blocks"] = (offsets, _distinct(ids, np.repeat(copy, np.diff(offsets))))
    return in_order(wide.replace(**changes), np.concatenate(arrivals))


def concatenated(first: RequestTrace, second: RequestTrace) -> RequestTrace:
    if len(second) == 0:
        return first
    if len(first) == 0:
        return second
    sizes = {t.prefix_block_tokens for t in (first, second) if t.prefix_blocks is not None}
    if len(sizes) > 1:
        raise TraceError(
            f"cannot concatenate traces with prefix blocks of {' and '.join(map(str, sorted(sizes)))} tokens"
        )
    gap_s = first.duration_s / max(len(first) - 1, 1)
    shift_s = first.arrival_s[-1] + gap_s - second.arrival_s[0]
    which = np.repeat([0, 1], [len(first), len(second)])
    changes: dict[str, Any] = {
        "arrival_s": np.concatenate((first.arrival_s, np.maximum(second.arrival_s + shift_s, first.arrival_s[-1]))),
        "prompt_tokens": np.concatenate((first.prompt_tokens, second.prompt_tokens)),
        "output_tokens": np.concatenate((first.output_tokens, second.output_tokens)),
    }
    if first.session_id is not None or second.session_id is not None:
        changes["session_id"] = _distinct(_joined(first, second, "session_id", -1), which)
    if first.priority is not None or second.priority is not None:
        changes["priority"] = _joined(first, second, "priority", 0)
    for column in ("tenant", "model"):
        if getattr(first, column) is not None or getattr(second, column) is not None:
            parts = [(len(t), getattr(t, column), getattr(t, f"{column}_names")) for t in (first, second)]
            changes[column], changes[f"{column}_names"] = joined_names(parts)
    if sizes:
        blocks = [t.prefix_blocks or (np.zeros(len(t) + 1, np.int64), np.zeros(0, np.int64)) for t in (first, second)]
        offsets = np.concatenate((blocks[0][0], blocks[1][0][1:] + blocks[0][0][-1]))
        source = np.repeat([0, 1], [len(ids) for _, ids in blocks])
        changes["prefix_blocks"] = (offsets, _distinct(np.concatenate([ids for _, ids in blocks]), source))
        changes["prefix_block_tokens"] = sizes.pop()
    return first.replace(**changes)


def _distinct(ids: Ints, source: Ints) -> Ints:
    """Ids (-1: none) renumbered so that those of source s (0, 1, ...) cannot equal those of another source."""
    if ids.size == 0:
        return ids
    stride = int(ids.max()) + 1
    if stride * (int(source.max()) + 1) > np.iinfo(np.int64).max:
        values, ranks = np.unique(ids, return_inverse=True)
        ids = ranks - (1 if values[0] < 0 else 0)
        stride = int(ids.max()) + 1
    return np.where(ids >= 0, ids + stride * source, ids)


def _joined(first: RequestTrace, second: RequestTrace, column: str, missing: int) -> Ints:
    parts = []
    for trace in (first, second):
        values = getattr(trace, column)
        parts.append(np.full(len(trace), missing, np.int64) if values is None else values)
    return np.concatenate(parts)
