"""What a scheduler may know of run times.

``none`` knows nothing (0), ``user_estimate`` what the user asked for, ``true`` the run time itself (an oracle), and
``predicted`` a mean over completed jobs of the same tenant and size in which the latest count most, the idea of
Helios's QSSF (Hu et al., SC'21), with back-off where there are too few: to the size's mean, then to that of all jobs.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from ...traces.errors import HandrailError

PRIOR_S = 3600.0
"""Prediction before any job has completed."""

LONGEST_S = 1e9
"""What a job that never ends is taken to run, so that sums of estimates stay numbers."""

MIN_COMPLETED = 5
"""Completed jobs that a mean needs before it is used."""


RECENT = 0.1
"""Weight of the latest completed job in a mean: jobs of one tenant come in runs of similar length."""


_Mean = tuple[int, float]
"""How many values there were, and their mean; never changed in place, so that forks can share it."""

_NONE: _Mean = (0, 0.0)


def _with(mean: _Mean, value: float) -> _Mean:
    """The plain mean at first, then one that forgets."""
    count = mean[0] + 1
    return count, mean[1] + max(1.0 / count, RECENT) * (value - mean[1])


class Predictor:
    """Run times predicted from completed jobs; a prediction is made once, when the job arrives.

    The mean over completed jobs is that of the logarithm: run times span six orders of magnitude, and one long job
    must not make every job of its class look long.
    """

    def __init__(self) -> None:
        self._of_class: dict[tuple[int, float], _Mean] = {}
        self._of_size: dict[float, _Mean] = {}
        self._of_all = _NONE

    def fork(self) -> Predictor:
        """A predictor that has learned the same."""
        twin = Predictor()
        twin._of_class = self._of_class.copy()
        twin._of_size = self._of_size.copy()
        twin._of_all = self._of_all
        return twin

    def predict(self, tenant: int, size: float) -> float:
        """Seconds that a job of that tenant and size is expected to run."""
        for mean in (self._of_class.get((tenant, size)), self._of_size.get(size), self._of_all):
            if mean is not None and mean[0] >= MIN_COMPLETED:
                return exp(mean[1])
        return PRIOR_S

    def recall(self, tenant: int, size: float, run_s: float) -> None:
        """Take in a completed job, of the replay or of before it, that ran for ``run_s`` seconds."""
        value = log(max(run_s, 1.0))
        of_class = (tenant, size)
        self._of_class[of_class] = _with(self._of_class.get(of_class, _NONE), value)
        self._of_size[size] = _with(self._of_size.get(size, _NONE), value)
        self._of_all = _with(self._of_all, value)


def known_estimates(trace: JobTrace, knowledge: str, *, run_time_where_missing: bool) -> NDArray[np.float64]:
    """Estimates that stand from the start, in seconds, shape (n,): 0 under ``none``, nan where predicted later.

    Args:
        trace: The jobs.
        knowledge: ``none``, ``user_estimate``, ``predicted`` or ``true``.
        run_time_where_missing: A job without a user's estimate takes its run time for one (RLScheduler's protocol).

    Raises:
        HandrailError: ``user_estimate``, and a job has none.
    """
    if knowledge == "none":
        return np.zeros(len(trace))
    if knowledge == "true":
        return np.minimum(trace.run_s, LONGEST_S)
    if knowledge == "predicted":
        return np.full(len(trace), np.nan)
    estimate_s = np.array(trace.estimate_s)
    missing = np.isnan(estimate_s)
    if run_time_where_missing:
        return np.where(missing, trace.run_s, estimate_s)
    if missing.any():
        raise HandrailError(
            f"{trace.name}: {int(missing.sum()):,} of {len(trace):,} jobs have no user's estimate of their run time; "
            "use knowledge predicted, or true for an oracle"
        )
    return estimate_s
