"""F1 to F4: non-linear functions of run time, processors and submit time that were fitted to simulated schedules.

Carastan-Santos and de Camargo, "Obtaining dynamic scheduling policies with simulation and machine learning", SC'17.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jobs import JobTable
from .base import QueueDiscipline


class _Fitted(QueueDiscipline):
    needs_estimate = True

    @staticmethod
    def _columns(
        jobs: JobTable, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Estimated run time, size, and the decimal logarithm of the submit time on the trace's own clock."""
        # The logarithm starts at one second: a trace may begin at 0.
        return jobs.estimate_s[rows], jobs.size[rows], np.log10(np.maximum(jobs.submit_s[rows], 1.0))


class F1(_Fitted):
    """log10(r) n + 870 log10(s)."""

    name = "f1"

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        run_s, size, submitted = self._columns(jobs, rows)
        return np.log10(np.maximum(run_s, 1e-9)) * size + 870.0 * submitted


class F2(_Fitted):
    """sqrt(r) n + 25,600 log10(s)."""

    name = "f2"

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        run_s, size, submitted = self._columns(jobs, rows)
        return np.sqrt(run_s) * size + 25_600.0 * submitted


class F3(_Fitted):
    """r n + 6,860,000 log10(s)."""

    name = "f3"

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        run_s, size, submitted = self._columns(jobs, rows)
        return run_s * size + 6_860_000.0 * submitted


class F4(_Fitted):
    """r sqrt(n) + 530,000 log10(s)."""

    name = "f4"

    def scores(self, jobs: JobTable, rows: NDArray[np.int64], now_s: float) -> NDArray[np.float64]:
        run_s, size, submitted = self._columns(jobs, rows)
        return run_s * np.sqrt(size) + 530_000.0 * submitted
