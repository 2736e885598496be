"""Writing an access trace in handrail's own columns, as CSV or Parquet, which the generic reader reads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.write import Columns, check_suffix, write_columns
from ..errors import TraceError
from .access_trace import AccessTrace


def write_access_trace(trace: AccessTrace, path: str | Path) -> None:
    """Write ``trace`` to ``path``, whole or not at all; what is written depends on the trace alone.

    Raises:
        TraceError: An ending other than ``.csv``, ``.csv.gz`` and ``.parquet``, an empty trace, or a folder that cannot
            be written to.
    """
    check_suffix(path)
    if len(trace) == 0:
        raise TraceError(f"{path}: a trace without accesses is not written; choose a wider window")
    write_columns(_columns(trace), path)


def _columns(trace: AccessTrace) -> Columns:
    """Columns to write, in order; what no access has is left out."""
    columns: dict[str, np.ndarray | list[str]] = {
        "arrival_s": trace.arrival_s,
        "key": trace.key,
        "size_bytes": trace.size_bytes,
    }
    if trace.is_write is not None:
        columns["is_write"] = trace.is_write.astype(np.int64)
    if trace.tenant is not None:
        columns["tenant"] = [trace.tenant_names[code] for code in trace.tenant.tolist()]
    if trace.backing != "all":
        columns["backing"] = [trace.backing] * len(trace)
    if trace.origin_s != 0:
        columns["origin_s"] = np.full(len(trace), trace.origin_s)
    return columns
