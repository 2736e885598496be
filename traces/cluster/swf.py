"""Reader of the Standard Workload Format (Chapin et al., JSSPP 1999; the Parallel Workloads Archive's definition).

Header lines start with ``;``; each other line is a job of 18 numbers, -1 where something is unknown.
"""

from __future__ import annotations

import math
import re
from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..common.source import UTF8_BOM, Source
from ..errors import TraceError
from ..signatures import SWF_FIELDS, is_finite_number
from .columns import assemble, raised_runs
from .job_trace import MAX_STAMP_S, MAX_TASKS, JobTrace

FIELDS = (
    *("job number", "submit time", "wait time", "run time", "allocated processors", "average CPU time"),
    *("used memory", "requested processors", "requested time", "requested memory", "status", "user ID"),
    *("group ID", "executable", "queue", "partition", "preceding job", "think time"),
)
_SUBMIT, _RUN, _ALLOCATED, _REQUESTED, _ESTIMATE, _STATUS, _USER, _GROUP = 1, 3, 4, 7, 8, 10, 11, 12
_CANCELLED = 5
# Lines of a job that was swapped out and in; the job has a summary line besides.
_PARTS_OF_A_JOB = (2, 3, 4)
_HEADER = re.compile(rb"^\s*;\s*(MaxProcs|MaxNodes|UnixStartTime)\s*:\s*(-?\d{1,15})\b")
_LARGEST_WHOLE = 2.0**53


class _Rows(NamedTuple):
    numbers: NDArray[np.float64]
    lines: list[int]
    header: dict[str, int]


def read_swf(source: Source, *, sort: bool = False) -> JobTrace:
    """Read it; the first job that is kept arrives at time 0.

    Processors are the larger of allocated and requested, each one task of one processor. The requested time is the
    estimate, NaN where missing. ``tenant`` is the group, ``user`` the user. Left out and counted in the notes: jobs
    without processors or run time (``dropped``), jobs cancelled before they ran (``cancelled``), and the parts of jobs
    that were swapped out, which have a line as a whole too (``parts``). A run of 0 s becomes 1 s
    (``runs_raised_to_1_s``). The header's MaxProcs, else MaxNodes, becomes ``processors``.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    numbers, lines, header = _parsed(source)
    source.check_rows(len(lines))
    status, run_s = numbers[:, _STATUS], numbers[:, _RUN]
    processors = np.maximum(numbers[:, _ALLOCATED], numbers[:, _REQUESTED])
    parts = np.isin(status, _PARTS_OF_A_JOB)
    cancelled = ~parts & (status == _CANCELLED) & (run_s <= 0)
    dropped = ~parts & ~cancelled & ((run_s < 0) | (processors <= 0))
    counts = {"parts": parts, "cancelled": cancelled, "dropped": dropped}
    notes: dict[str, Any] = {"format": "swf", "rows_in_file": len(lines)}
    notes.update({name: int(which.sum()) for name, which in counts.items() if which.any()})
    kept = np.flatnonzero(~(parts | cancelled | dropped))
    if len(kept) == 0:
        raise source.error("no job in it ever ran (run time and processors above 0); take another trace")
    numbers, processors = numbers[kept], processors[kept]

    def place(row: int) -> str:
        return f"line {lines[kept[row]]} (data row {kept[row] + 1})"

    _check(source, place, numbers)
    submit_s = numbers[:, _SUBMIT]
    back = np.diff(submit_s) < 0
    if back.any() and not sort:
        raise source.backwards(place(int(np.argmax(back)) + 1), FIELDS[_SUBMIT])
    order = np.argsort(submit_s, kind="stable") if back.any() else None
    arrival_s = submit_s if order is None else submit_s[order]
    notes["origin_s"] = float(arrival_s[0])
    if "UnixStartTime" in header:
        notes["unix_start_s"] = header["UnixStartTime"]
    runs_s, raised = raised_runs(numbers[:, _RUN])
    estimate_s = numbers[:, _ESTIMATE]
    optional: dict[str, Any] = {}
    if (numbers[:, _GROUP] >= 0).any():
        groups, codes = np.unique(numbers[:, _GROUP].astype(np.int64), return_inverse=True)
        optional["tenant"] = codes
        optional["tenant_names"] = tuple("unknown" if group < 0 else str(group) for group in groups.tolist())
    if (numbers[:, _USER] >= 0).any():
        optional["user"] = np.maximum(numbers[:, _USER], -1).astype(np.int64)
    return assemble(
        source,
        arrival_s=arrival_s - arrival_s[0],
        order=order,
        notes={**notes, **raised},
        run_s=runs_s,
        estimate_s=np.where(estimate_s > 0, estimate_s, np.nan),
        tasks=processors.astype(np.int64),
        cpu_milli=np.full(len(kept), 1000),
        processors=_machine(header),
        **optional,
    )


def _parsed(source: Source) -> _Rows:
    values = array("d")
    lines: list[int] = []
    header: dict[str, int] = {}
    start, line, data = len(UTF8_BOM) if source.data.startswith(UTF8_BOM) else 0, 0, source.data
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        raw, start, line = bytes(data[start:end]), end + 1, line + 1
        fields = raw.split()
        if not fields:
            continue
        if fields[0].startswith(b";"):
            if found := _HEADER.match(raw):
                header.setdefault(found[1].decode(), int(found[2]))
            continue
        if len(fields) != SWF_FIELDS:
            raise source.error(f"line {line}: {len(fields)} fields where SWF has {SWF_FIELDS}; mend or drop the line")
        lines.append(line)
        if len(lines) > source.max_rows:
            source.check_rows(len(lines))
        try:
            values.extend(map(float, fields))
        except ValueError:
            raise _no_number(source, fields, lines) from None
        if b"_" in raw:  # a number to Python, but to nobody else
            raise _no_number(source, fields, lines)
    numbers = np.array(values).reshape(-1, SWF_FIELDS)
    odd = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if odd.size:
        row = int(odd[0])
        raise _no_number(source, [str(value).encode() for value in numbers[row].tolist()], lines[: row + 1])
    return _Rows(numbers, lines, header)


def _no_number(source: Source, fields: list[bytes], lines: list[int]) -> TraceError:
    """The first field of the last of ``lines`` that is no finite number."""
    field = next(place for place, value in enumerate(fields) if not is_finite_number(value))
    shown = fields[field][:40].decode("utf-8", "replace")
    place = f"line {lines[-1]} (data row {len(lines)})"
    return source.bad_value(place, FIELDS[field], f"{shown!r} is not a finite number; mend or drop the row")


def _check(source: Source, place: Any, numbers: NDArray[np.float64]) -> None:
    """Refuse what no machine can have done."""
    for field, low, high in (
        (_SUBMIT, 0.0, MAX_STAMP_S),
        (_RUN, 0.0, MAX_STAMP_S),
        (_ESTIMATE, -math.inf, MAX_STAMP_S),
        (_ALLOCATED, -math.inf, MAX_TASKS),
        (_REQUESTED, -math.inf, MAX_TASKS),
        (_USER, -math.inf, _LARGEST_WHOLE),
        (_GROUP, -math.inf, _LARGEST_WHOLE),
    ):
        values = numbers[:, field]
        for bad, problem in ((values < low, "is negative"), (values > high, f"is above {high:,.0f}")):
            if bad.any():
                row = int(np.argmax(bad))
                raise source.bad_value(place(row), FIELDS[field], f"{values[row]:g} {problem}; mend or drop the row")
    for field in (_ALLOCATED, _REQUESTED, _USER, _GROUP):
        broken = numbers[:, field] != np.floor(numbers[:, field])
        if broken.any():
            row = int(np.argmax(broken))
            problem = f"{numbers[row, field]:g} is not a whole number; mend or drop the row"
            raise source.bad_value(place(row), FIELDS[field], problem)


def _machine(header: dict[str, int]) -> int | None:
    """Processors of the machine: MaxProcs, else MaxNodes; ``None`` where the header has neither."""
    for name in ("MaxProcs", "MaxNodes"):
        if 0 < header.get(name, -1) <= MAX_TASKS:
            return header[name]
    return None
