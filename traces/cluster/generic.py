"""Reader of any CSV or Parquet table of jobs, with a mapping from handrail's columns to the file's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..common.arrays import compact_names
from ..common.columns import (
    Table,
    check_stamps,
    date_stamps_ns,
    names_of,
    numbers_of,
    time_order,
    whole_numbers,
)
from ..signatures import JOBS
from .columns import assemble
from .job_trace import MAX_MEMORY_MIB, MAX_MILLI, MAX_TASKS, JobTrace
from .openb import type_masks
from .transforms import compact_types

# Demands that may be read from counts instead; one of them at least must be there.
COUNTS = {"gpu_milli": "gpus", "cpu_milli": "cpus"}
DEMANDS = ("tasks", "gpu_milli", "cpu_milli", "gpus", "cpus")
OPTIONAL = ("estimate_s", "memory_mib", "gpu_types", "tenant", "user", "priority", "deadline_s")
# One value a file, on every row, so that a table alone says all that the trace knew.
CONSTANTS = ("machine_processors", "origin_s")
COLUMNS = (*JOBS, *DEMANDS, *OPTIONAL, *CONSTANTS)
# Stamps beyond three years are a wall clock (seconds since 1970): time then starts with the first job.
WALL_CLOCK_S = 1e8
_MAX_PRIORITY = 2**31
_MAX_ID = 2**53


def read_generic(table: Table, mapping: Mapping[str, str], *, sort: bool = False) -> JobTrace:
    """Read it; columns that handrail does not know are left alone.

    ``arrival_s`` holds seconds (kept as they are, unless they are a wall clock beyond 10^8 s) or dates and times (then
    the first job is time 0). ``run_s`` may be ``inf``; ``estimate_s`` and ``deadline_s`` may be empty. ``gpus`` and
    ``cpus`` are counts a task (fractions allowed), in place of ``gpu_milli`` and ``cpu_milli``. Jobs that name neither
    GPUs nor processors have one processor a task. ``gpu_types`` holds the allowed GPU models separated by ``|``.

    Args:
        table: The file.
        mapping: From handrail's column names to the file's; names not mapped stand for themselves.
        sort: Sort by time instead of refusing a file whose time goes backwards.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    source = table.source
    column = _resolved(table, mapping)
    stamp = column["arrival_s"]
    dates = table.holds_dates(stamp)
    as_text = ("run_s", "estimate_s", "deadline_s", "gpu_types", "tenant")
    numeric = [found for name, found in column.items() if name not in (*as_text, "arrival_s")]
    texts = [column[name] for name in as_text if name in column]
    values = table.read(numeric if dates else [stamp, *numeric], [*texts, stamp] if dates else texts)

    def whole(name: str, low: int, high: int) -> NDArray[np.int64]:
        return whole_numbers(table, column[name], values[column[name]], low=low, high=high)

    def text_numbers(name: str, **options: bool) -> NDArray[np.float64]:
        return numbers_of(table, column[name], values[column[name]], **options)

    columns: dict[str, Any] = {"run_s": text_numbers("run_s", infinite=True)}
    if "estimate_s" in column:
        columns["estimate_s"] = text_numbers("estimate_s", optional=True)
    if "deadline_s" in column:
        columns["deadline_s"] = text_numbers("deadline_s", zero=True, optional=True)
    columns.update(_demands(table, column, values, whole))
    if "gpu_types" in column:
        masks = type_masks(table, column["gpu_types"], values[column["gpu_types"]])
        columns["gpu_types"], columns["gpu_type_names"] = compact_types(*masks)
    if "tenant" in column:
        named = names_of(table, column["tenant"], values[column["tenant"]])
        columns["tenant"], columns["tenant_names"] = compact_names(*named)
    if "user" in column:
        columns["user"] = whole("user", -1, _MAX_ID)
    if "priority" in column:
        columns["priority"] = whole("priority", -_MAX_PRIORITY, _MAX_PRIORITY)
    if "machine_processors" in column:
        processors = whole("machine_processors", 1, MAX_TASKS)
        columns["processors"] = int(_constant(table, column["machine_processors"], processors))
    arrival_s, order, notes = _arrivals(table, stamp, values, dates=dates, sort=sort)
    if "origin_s" in column:
        origins_s = values[column["origin_s"]].to_numpy()
        check_stamps(origins_s, source, table.place, column["origin_s"])
        notes["origin_s"] = float(_constant(table, column["origin_s"], origins_s))
    return assemble(source, arrival_s=arrival_s, order=order, notes=notes, **columns)


def _resolved(table: Table, mapping: Mapping[str, str]) -> dict[str, str]:
    """Which column of the file each of handrail's columns is read from."""
    for name in mapping:
        if name not in COLUMNS:
            raise table.source.error(f"--map knows no column {name!r}; it maps {', '.join(COLUMNS)}")
    column = {name: mapping.get(name, name) for name in JOBS}
    column.update(mapping)
    for name, found in column.items():
        table.require([found], f"name it with --map {name}=COLUMN")
    others = [name for name in COLUMNS if name not in column and name in table.header]
    # A count stands back where the exact demand is there, or is mapped to.
    column.update({name: name for name in others if name not in COUNTS.values()})
    for exact, count in COUNTS.items():
        if exact in column and count in mapping:
            raise table.source.error(f"both {exact} and {count} are there; map one of them")
        if count in others and exact not in column:
            column[count] = count
    if not any(name in column for name in DEMANDS):
        raise table.source.error(
            f"no column says what a job needs; name one of {', '.join(DEMANDS)} with --map tasks=COLUMN"
        )
    for name, found in column.items():
        table.require([found], f"name it with --map {name}=COLUMN")
    return column


def _demands(table: Table, column: dict[str, str], values: dict[str, pa.ChunkedArray], whole: Any) -> dict[str, Any]:
    demands: dict[str, Any] = {}
    if "tasks" in column:
        demands["tasks"] = whole("tasks", 1, MAX_TASKS)
    if "memory_mib" in column:
        demands["memory_mib"] = whole("memory_mib", 0, MAX_MEMORY_MIB)
    for exact, count in COUNTS.items():
        if exact in column:
            demands[exact] = whole(exact, 0, MAX_MILLI)
        elif count in column:
            demands[exact] = _thousandths(table, column[count], values[column[count]].to_numpy())
    if "gpu_milli" not in demands and "cpu_milli" not in demands:
        demands["cpu_milli"] = np.full(len(demands["tasks"]), 1000)
    gpu_milli = demands.get("gpu_milli", np.zeros(1, np.int64))
    parts = (gpu_milli > 1000) & (gpu_milli % 1000 != 0)
    if parts.any():
        found = column.get("gpu_milli") or column["gpus"]
        problem = "is more than one GPU, but not whole GPUs; mend or drop the row"
        raise table.source.bad_value(table.place(int(np.argmax(parts))), found, problem)
    nothing = (gpu_milli == 0) & (demands.get("cpu_milli", np.zeros(1, np.int64)) == 0)
    if nothing.any():
        found = next(column[name] for name in ("gpu_milli", "gpus", "cpu_milli", "cpus") if name in column)
        problem = "0, and no processors either: the job asks for nothing; mend or drop the row"
        raise table.source.bad_value(table.place(int(np.argmax(nothing))), found, problem)
    return demands


def _thousandths(table: Table, field: str, counts: NDArray[np.float64]) -> NDArray[np.int64]:
    bad = (counts < 0) | (counts > MAX_MILLI / 1000)
    if bad.any():
        row = int(np.argmax(bad))
        problem = f"{counts[row]:g} is not between 0 and {MAX_MILLI // 1000:,}; mend or drop the row"
        raise table.source.bad_value(table.place(row), field, problem)
    return np.rint(counts * 1000).astype(np.int64)


def _arrivals(
    table: Table, field: str, values: dict[str, pa.ChunkedArray], *, dates: bool, sort: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None, dict[str, Any]]:
    """Arrival times in order, the order that sorts the file's rows, and the notes so far."""
    notes: dict[str, Any] = {"format": "generic", "origin_s": 0.0}
    if dates:
        stamps = date_stamps_ns(table, field, values[field])
    else:
        stamps = values[field].to_numpy()
        check_stamps(stamps, table.source, table.place, field)
    order = time_order(stamps, table.source, table.place, field, sort=sort)
    if order is not None:
        stamps = stamps[order]
    if dates:
        notes["origin"] = str(np.datetime64(int(stamps[0]), "ns"))
        return (stamps - stamps[0]) / 1e9, order, notes
    if stamps[0] > WALL_CLOCK_S:
        notes["origin_s"] = float(stamps[0])
        return stamps - stamps[0], order, notes
    return np.array(stamps), order, notes


def _constant(table: Table, field: str, values: NDArray[Any]) -> Any:
    other = values != values[0]
    if other.any():
        row = int(np.argmax(other))
        problem = f"{values[row]:g} where the rows before have {values[0]:g}; one value a file is read"
        raise table.source.bad_value(table.place(row), field, problem)
    return values[0]
