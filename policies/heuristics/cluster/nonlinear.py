"""F1 to F4: functions of run time r, processors n and submit time s that were fitted to simulated schedules.

Carastan-Santos and de Camargo, "Obtaining dynamic scheduling policies with simulation and machine learning", SC'17.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, SchedulingHeuristic

MIN_ESTIMATE_S = 1e-9
"""Below any run time; keeps the logarithm of an unknown one finite."""


class _Fitted(SchedulingHeuristic):
    def _log_submit(self, observation: NDArray[np.float32]) -> Floats:
        # From one second on: a trace may begin at 0.
        return np.log10(np.maximum(self._submits_s(observation), 1.0))


class F1(_Fitted):
    """log10(r) n + 870 log10(s)."""

    name = "f1"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        run = np.log10(np.maximum(self._estimates_s(observation), MIN_ESTIMATE_S))
        return run * self._processors(observation) + 870.0 * self._log_submit(observation)


class F2(_Fitted):
    """sqrt(r) n + 25,600 log10(s)."""

    name = "f2"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        run = np.sqrt(self._estimates_s(observation))
        return run * self._processors(observation) + 25_600.0 * self._log_submit(observation)


class F3(_Fitted):
    """r n + 6,860,000 log10(s)."""

    name = "f3"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        area = self._estimates_s(observation) * self._processors(observation)
        return area + 6_860_000.0 * self._log_submit(observation)


class F4(_Fitted):
    """r sqrt(n) + 530,000 log10(s)."""

    name = "f4"

    def scores(self, observation: NDArray[np.float32]) -> Floats:
        run = self._estimates_s(observation)
        return run * np.sqrt(self._processors(observation)) + 530_000.0 * self._log_submit(observation)
