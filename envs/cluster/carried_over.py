"""An episode that starts in the middle of things: the jobs that earlier arrivals have left behind.

A cluster that starts empty may take weeks to fill where jobs run for weeks; an episode of some hundred jobs would never
see a queue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace

LEAD_S = 1.0
"""Carried-over jobs arrive at 0 and the window's first job this much later."""


def episode_trace(trace: JobTrace, start: int, stop: int, ends_s: NDArray[np.float64]) -> tuple[JobTrace, int]:
    """The jobs [start, stop), and before them those that would still run at ``start``'s arrival had none ever waited.

    A carried-over job arrives at 0 with the run time that would be left of it, and with an estimate, if the user gave
    one, that is as much shorter (but not below a tenth of it, nor a second).

    Args:
        trace: All jobs.
        start: First job of the window.
        stop: End of the window.
        ends_s: ``trace.arrival_s + trace.run_s``.

    Returns:
        The episode's jobs, and how many of them were carried over.
    """
    at_s = float(trace.arrival_s[start])
    carried = np.flatnonzero(ends_s[:start] > at_s)
    n = len(carried)
    lead_s = LEAD_S if n else 0.0
    rows = np.concatenate((carried, np.arange(start, stop)))
    arrival_s = np.concatenate((np.zeros(n), trace.arrival_s[start:stop] - at_s + lead_s))
    part = trace.take(rows, arrival_s)
    run_s, estimate_s = part.run_s.copy(), part.estimate_s.copy()
    elapsed_s = at_s - trace.arrival_s[carried]
    run_s[:n] = np.maximum(run_s[:n] - elapsed_s, 1e-3)
    estimate_s[:n] = np.maximum(estimate_s[:n] - elapsed_s, np.maximum(estimate_s[:n] / 10.0, 1.0))
    notes = {**trace.notes, "origin_s": trace.origin_s + at_s - lead_s}
    return part.replace(run_s=run_s, estimate_s=estimate_s, notes=notes), n


HISTORY = 200
"""Completed jobs that a prediction of run times starts out from."""


def completed_before(trace: JobTrace, start: int, ends_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the last jobs that would have ended by ``start``'s arrival had none ever waited, in order of their ends.

    Args:
        trace: All jobs.
        start: First job of the window.
        ends_s: ``trace.arrival_s + trace.run_s``.
    """
    ended = np.flatnonzero(ends_s[:start] <= trace.arrival_s[start])
    return ended[np.argsort(ends_s[ended], kind="stable")][-HISTORY:]
