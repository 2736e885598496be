"""From checked columns in file order to a ``JobTrace``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.source import Source
from ..errors import TraceError
from .job_trace import JobTrace

# A run of 0 s is one below the resolution of clocks in whole seconds.
SHORTEST_RUN_S = 1.0


def raised_runs(run_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Run times with those of 0 s raised to 1 s, and the note that counts them."""
    zero = run_s == 0
    note = {"runs_raised_to_1_s": int(zero.sum())} if zero.any() else {}
    return np.where(zero, SHORTEST_RUN_S, run_s), note


def assemble(
    source: Source,
    *,
    arrival_s: NDArray[np.float64],
    order: NDArray[np.int64] | None,
    notes: dict[str, Any],
    **columns: Any,
) -> JobTrace:
    """The trace; ``arrival_s`` in order of time, every other column in file order, to be put in ``order``.

    What all jobs lack may be left out: no estimates, one task, no GPU, no memory.
    """
    n = len(arrival_s)
    filled: dict[str, Any] = {
        "estimate_s": np.full(n, np.nan),
        "tasks": np.ones(n, np.int64),
        "gpu_milli": np.zeros(n, np.int64),
        "cpu_milli": np.zeros(n, np.int64),
        "memory_mib": np.zeros(n, np.int64),
        **columns,
    }
    if order is not None:
        per_job = {name: filled[name] for name in filled if isinstance(filled[name], np.ndarray)}
        filled.update({name: values[order] for name, values in per_job.items()})
    try:
        return JobTrace(arrival_s=arrival_s, name=Path(source.name).name, notes={"rows": n, **notes}, **filled)
    except TraceError as error:
        raise source.error(str(error)) from None
