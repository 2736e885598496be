"""Faults of sensors and of outcome signals, each with the reach that it states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ...envs.common import Layout
from ...traces.errors import HandrailError
from .context import StressContext
from .distortions import (
    Delayed,
    Frozen,
    Inverted,
    Missing,
    Noisy,
    OutcomesDelayed,
    OutcomesInverted,
    OutcomesMissing,
)
from .sensors import REACHES, Distortion, Reach, Sensors
from .severities import SEVERITIES, Severities
from .stress import Kind, Stress
from .telemetry import Telemetry, telemetry_of

Window = tuple[float, float]


def _stale(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Delayed(telemetry, *window, age_s=how.stale_share * context.span_s)


def _lagging(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Delayed(telemetry, *window, speed=how.lag_speed)


def _frozen(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Frozen(telemetry, *window)


def _missing(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Missing(telemetry, *window, how.missing_hold_share * context.span_s)


def _noisy(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Noisy(telemetry, *window, how.noise_sigma, context.rng("noisy"))


def _inverted(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return Inverted(telemetry, *window)


def _outcomes_lagging(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return OutcomesDelayed(*window, how.outcome_lag_share * context.span_s)


def _outcomes_missing(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return OutcomesMissing(*window)


def _outcomes_inverted(telemetry: Telemetry, window: Window, context: StressContext, how: Severities) -> Distortion:
    return OutcomesInverted(*window)


SENSOR_FAULTS: dict[str, Callable[[Telemetry, Window, StressContext, Severities], Distortion]] = {
    "stale": _stale,
    "frozen": _frozen,
    "missing": _missing,
    "noisy": _noisy,
    "inverted": _inverted,
    "lagging": _lagging,
    "outcomes-lagging": _outcomes_lagging,
    "outcomes-missing": _outcomes_missing,
    "outcomes-inverted": _outcomes_inverted,
}
"""Sensor faults by name."""


@dataclass(frozen=True, slots=True)
class SensorFault(Stress):
    """One of ``SENSOR_FAULTS``.

    Attributes:
        fault: Its name.
        reach: Whom it deceives.
        severities: How bad it is.

    Raises:
        HandrailError: There is no such fault or reach.
    """

    fault: str = "stale"
    reach: Reach = "policy"
    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "sensor"

    def __post_init__(self) -> None:
        super(SensorFault, self).__post_init__()
        if self.fault not in SENSOR_FAULTS:
            raise HandrailError(f"no sensor fault is named {self.fault!r}; choose one of {', '.join(SENSOR_FAULTS)}")
        if self.reach not in REACHES:
            raise HandrailError(
                f"{self.fault}: a sensor fault states its reach, as in {self.fault}:policy; choose {', '.join(REACHES)}"
            )

    @property
    def label(self) -> str:
        return f"{self.fault}:{self.reach}"

    @property
    def severity(self) -> float | None:
        how = self.severities
        return {
            "stale": how.stale_share,
            "missing": how.missing_hold_share,
            "noisy": how.noise_sigma,
            "lagging": how.lag_speed,
            "outcomes-lagging": how.outcome_lag_share,
        }.get(self.fault)

    def on_sensors(self, sensors: Sensors, context: StressContext) -> Sensors:
        return sensors.plus(self.reach, partial(self.distortion, context))

    def distortion(self, context: StressContext, layout: Layout) -> Distortion:
        """A fresh distortion for one run over observations of ``layout``."""
        telemetry = telemetry_of(context.domain, layout)
        return SENSOR_FAULTS[self.fault](telemetry, self.window_s(context), context, self.severities)
