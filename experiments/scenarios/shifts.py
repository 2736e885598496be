"""Shifts of load: more of the same traffic within the window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from .context import StressContext
from .extra_traffic import extra, groups_of, merged
from .severities import SEVERITIES, Severities
from .stress import Kind, Stress

MAX_FACTOR = 20.0
"""Largest factor on the load; more is taken for a slip."""


@dataclass(frozen=True, slots=True)
class LoadShift(Stress):
    """The arrival rate times ``factor`` within the window; below 1 arrivals are left out.

    Attributes:
        factor: Above 0, at most 20.
    """

    factor: float = 2.0
    kind: ClassVar[Kind] = "shift"

    def __post_init__(self) -> None:
        Stress.__post_init__(self)
        if not 0.0 < self.factor <= MAX_FACTOR:
            raise HandrailError(f"load:{self.factor:g}: the factor must be above 0 and at most {MAX_FACTOR:g}")

    @property
    def label(self) -> str:
        return f"load:{self.factor:g}"

    @property
    def severity(self) -> float | None:
        return self.factor

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        return with_load(trace, self.window_s(context), self.factor, context.rng(self.label))


@dataclass(frozen=True, slots=True)
class FlashCrowd(Stress):
    """A burst at the onset: ``flash_crowd_factor`` times the rate for ``flash_crowd_share`` of the window.

    Attributes:
        severities: How bad it is.
    """

    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "shift"

    @property
    def label(self) -> str:
        return "flash-crowd"

    @property
    def severity(self) -> float | None:
        return self.severities.flash_crowd_factor

    def window_s(self, context: StressContext) -> tuple[float, float]:
        last = min(self.onset + self.severities.flash_crowd_share, self.end)
        return context.at_s(self.onset), context.at_s(last)

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        factor = self.severities.flash_crowd_factor
        return with_load(trace, self.window_s(context), factor, context.rng(self.label))


@dataclass(frozen=True, slots=True)
class Drift(Stress):
    """The arrival rate rises linearly from once to ``drift_factor`` times the usual one, and falls back at the end.

    Attributes:
        severities: How bad it is.
    """

    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "shift"

    @property
    def label(self) -> str:
        return "drift"

    @property
    def severity(self) -> float | None:
        return self.severities.drift_factor

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        start_s, end_s = self.window_s(context)
        beyond = self.severities.drift_factor - 1.0
        copies = math.ceil(beyond)

        def share(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
            return beyond / copies * (at_s - start_s) / (end_s - start_s)

        return merged(trace, extra(trace, (start_s, end_s), copies, share, context.rng(self.label)))


def with_load(trace: Any, window_s: tuple[float, float], factor: float, rng: np.random.Generator) -> Any:
    """``trace`` with the arrival rate times ``factor`` within a window.

    From 1 on every row stays and more come between; below 1 groups of rows (sessions, runs of accesses) are left out.
    """
    if factor < 1.0:
        return without(trace, window_s, factor, rng)
    copies = math.ceil(factor - 1.0)
    if copies == 0:
        return trace
    return merged(trace, extra(trace, window_s, copies, (factor - 1.0) / copies, rng))


def without(trace: Any, window_s: tuple[float, float], share: float, rng: np.random.Generator) -> Any:
    """``trace`` with only a share of what arrives within a window."""
    groups, count = groups_of(trace)
    inside = (trace.arrival_s >= window_s[0]) & (trace.arrival_s < window_s[1])
    return trace.select(~inside | (rng.random(count)[groups] < share))
