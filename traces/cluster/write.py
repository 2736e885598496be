"""Writing a job trace in handrail's own columns, as CSV or Parquet, which the generic reader reads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.write import Columns, check_suffix, write_columns
from ..errors import TraceError
from .job_trace import REQUIRED_INTS, JobTrace


def write_job_trace(trace: JobTrace, path: str | Path) -> None:
    """Write ``trace`` to ``path``, whole or not at all; what is written depends on the trace alone.

    Raises:
        TraceError: An ending other than ``.csv``, ``.csv.gz`` and ``.parquet``, an empty trace, or a folder that cannot
            be written to.
    """
    check_suffix(path)
    if len(trace) == 0:
        raise TraceError(f"{path}: a trace without jobs is not written; choose a wider window")
    write_columns(_columns(trace), path)


def _columns(trace: JobTrace) -> Columns:
    """Columns to write, in order; what no job has is left out."""
    columns: dict[str, np.ndarray | list[str]] = {"arrival_s": trace.arrival_s, "run_s": trace.run_s}
    if not np.isnan(trace.estimate_s).all():
        columns["estimate_s"] = trace.estimate_s
    columns.update({name: getattr(trace, name) for name in REQUIRED_INTS})
    if trace.gpu_types is not None:
        texts = {mask: _type_text(mask, trace.gpu_type_names) for mask in np.unique(trace.gpu_types).tolist()}
        columns["gpu_types"] = [texts[mask] for mask in trace.gpu_types.tolist()]
    if trace.tenant is not None:
        columns["tenant"] = [trace.tenant_names[code] for code in trace.tenant.tolist()]
    for name in ("user", "priority", "deadline_s"):
        if getattr(trace, name) is not None:
            columns[name] = getattr(trace, name)
    if trace.processors is not None:
        columns["machine_processors"] = np.full(len(trace), trace.processors)
    if trace.origin_s != 0:
        columns["origin_s"] = np.full(len(trace), trace.origin_s)
    return columns


def _type_text(mask: int, names: tuple[str, ...]) -> str:
    return "|".join(name for bit, name in enumerate(names) if mask >> bit & 1)
