"""Writing a trace in handrail's own columns, as CSV, gzipped CSV or Parquet, which the generic reader reads back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from ..common.write import check_suffix, write_columns
from ..errors import TraceError
from .request_trace import RequestTrace


def write_trace(trace: RequestTrace, path: str | Path) -> None:
    """Write ``trace`` to ``path``, whole or not at all; what is written depends on the trace alone.

    CSV times are the shortest decimals that read back as the same float64, so that the content hash survives. A gzip
    file has no name and no time in its header.

    Raises:
        TraceError: An ending other than ``.csv``, ``.csv.gz`` and ``.parquet``, an empty trace, or a folder that cannot
            be written to.
    """
    check_suffix(path)
    if len(trace) == 0:
        raise TraceError(f"{path}: a trace without requests is not written; choose a wider window")
    write_columns(_columns(trace), path)


def _columns(trace: RequestTrace) -> dict[str, np.ndarray | list[str]]:
    """Columns to write, in order: numbers as arrays, text as lists."""
    columns: dict[str, np.ndarray | list[str]] = {
        "arrival_s": trace.arrival_s,
        "prompt_tokens": trace.prompt_tokens,
        "output_tokens": trace.output_tokens,
    }
    if trace.session_id is not None:
        columns["session_id"] = ["" if i < 0 else str(i) for i in trace.session_id.tolist()]
    for name, codes, names in (
        ("tenant", trace.tenant, trace.tenant_names),
        ("model", trace.model, trace.model_names),
    ):
        if codes is not None:
            columns[name] = [names[code] for code in codes.tolist()]
    if trace.priority is not None:
        columns["priority"] = trace.priority
    if trace.prefix_blocks is not None:
        offsets, ids = (array.tolist() for array in trace.prefix_blocks)
        columns["prefix_blocks"] = [" ".join(map(str, ids[a:b])) for a, b in itertools.pairwise(offsets)]
        columns["prefix_block_tokens"] = np.full(len(trace), trace.prefix_block_tokens)
    return columns
