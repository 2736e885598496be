"""How a job trace's load is raised, and how two traces become one: pure functions behind ``JobTrace``'s methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import joined_names
from ..errors import TraceError

if TYPE_CHECKING:
    from .job_trace import JobTrace

Ints = NDArray[np.int64]


def superposed(trace: JobTrace, k: int, seed: int) -> JobTrace:
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
    return trace.take(np.tile(np.arange(n), k)[order], arrival_s[order])


def concatenated(first: JobTrace, second: JobTrace) -> JobTrace:
    if len(second) == 0:
        return first
    if len(first) == 0:
        return second
    gap_s = first.duration_s / max(len(first) - 1, 1)
    shift_s = first.arrival_s[-1] + gap_s - second.arrival_s[0]
    later_s = np.maximum(second.arrival_s + shift_s, first.arrival_s[-1])
    changes: dict[str, Any] = {"arrival_s": np.concatenate((first.arrival_s, later_s))}
    for column in ("run_s", "estimate_s", "tasks", "gpu_milli", "cpu_milli", "memory_mib"):
        changes[column] = np.concatenate((getattr(first, column), getattr(second, column)))
    for column, missing in (("user", -1), ("priority", 0)):
        if getattr(first, column) is not None or getattr(second, column) is not None:
            changes[column] = _joined(first, second, column, missing)
    if first.deadline_s is not None or second.deadline_s is not None:
        moved = second if second.deadline_s is None else second.replace(deadline_s=second.deadline_s + shift_s)
        changes["deadline_s"] = _joined(first, moved, "deadline_s", np.nan)
    if first.tenant is not None or second.tenant is not None:
        parts = [(len(t), t.tenant, t.tenant_names) for t in (first, second)]
        changes["tenant"], changes["tenant_names"] = joined_names(parts)
    if first.gpu_types is not None or second.gpu_types is not None:
        names = tuple(dict.fromkeys((*first.gpu_type_names, *second.gpu_type_names)))
        masks = [np.zeros(len(t), np.int64) if t.gpu_types is None else t.gpu_types for t in (first, second)]
        own = (first.gpu_type_names, second.gpu_type_names)
        changes["gpu_types"] = np.concatenate([_moved_bits(m, o, names) for m, o in zip(masks, own, strict=True)])
        changes["gpu_type_names"] = names
    return first.replace(**changes)


def compact_types(masks: Ints, names: tuple[str, ...]) -> tuple[Ints, tuple[str, ...]]:
    """The same sets of GPU models with only the names in use, sorted, and the bits moved to match."""
    used = int(np.bitwise_or.reduce(masks)) if len(masks) else 0
    kept = tuple(sorted(name for bit, name in enumerate(names) if used >> bit & 1))
    return _moved_bits(masks, names, kept), kept


def _moved_bits(masks: Ints, names: tuple[str, ...], onto: tuple[str, ...]) -> Ints:
    """Masks over ``names`` as masks over ``onto``; names that are not there lose their bit."""
    moved = np.zeros(len(masks), np.int64)
    for bit, name in enumerate(names):
        if name in onto:
            moved |= (masks >> bit & 1) << onto.index(name)
    return moved


def _joined(first: JobTrace, second: JobTrace, column: str, missing: float) -> NDArray[Any]:
    parts = []
    for trace in (first, second):
        values = getattr(trace, column)
        parts.append(np.full(len(trace), missing) if values is None else values)
    return np.concatenate(parts)
