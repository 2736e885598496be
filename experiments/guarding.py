"""The guard of a comparison: the policy folder's thresholds or the defaults, with the breaker's reference measured.

The outcome breaker compares violations with the fallback's own share of them at that load. That share belongs to a
system and a trace, so it is measured by replaying the fallback alone over the trace's validation part, a little below,
at and above the load that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.common import Layout
from ..policies.guards import BreakerConfig, GuardConfig, ReferenceCalibrator, reference_curve
from ..traces.errors import HandrailError
from .domains import domain_named, domain_of
from .load import RateChange
from .replay import replay
from .scenario import Scenario
from .splits import cut_split, whole_window

GUARD_FILE = "guard.json"
BUNDLED = "bundled"
CALIBRATION_FACTORS = (0.75, 1.0, 1.25)
"""Rates of the calibration replays, as factors on the rate of the comparison."""

CALIBRATION_ITEMS = 20_000
"""Most items of a calibration replay."""


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """One calibration replay: the fallback alone on the validation part at one rate."""

    system: Any
    trace: Any
    scenario: Scenario
    capacity_per_s: float


def guard_thresholds(policy_spec: str, system: Any) -> GuardConfig:
    """The guard of a policy folder (its ``guard.json``), or the default of the system's domain, fitted to the system.

    Raises:
        HandrailError: The file cannot be read, or is no guard config.
    """
    domain = domain_of(system)
    folder = domain.bundled_folder if policy_spec == BUNDLED else Path(policy_spec)
    path = folder / GUARD_FILE
    if not path.is_file():
        return domain.fit_guard(domain.default_guard(system), system)
    try:
        return domain.fit_guard(GuardConfig.from_json(path.read_text(encoding="utf-8"), str(path)), system)
    except (OSError, UnicodeDecodeError) as error:
        raise HandrailError(f"{path}: cannot be read ({error}); restore it or remove it") from None


def calibration_jobs(
    window: Any, system: Any, scenario: Scenario, change: RateChange, capacity_per_s: float
) -> list[CalibrationJob]:
    """The replays that calibrate the breaker.

    Args:
        window: The window of the trace that is split, at its own rate.
        system: What it is replayed on.
        scenario: What is compared.
        change: What the comparison does to the arrival rate; calibration does the same.
        capacity_per_s: Value of the domain's load field that is load 1.
    """
    domain = domain_named(scenario.domain)
    try:
        validation = cut_split(window, "validation", domain.margins)
    except HandrailError:
        validation = window  # too sparse to have a validation part
    method = change.method if change.method in ("superpose", "compress") else None
    factors = [share * change.factor for share in CALIBRATION_FACTORS]
    traces = [domain.change_rate(validation, system, factor, method, scenario.seed) for factor in factors]
    return [CalibrationJob(system, trace.head(CALIBRATION_ITEMS), scenario, capacity_per_s) for trace in traces]


def run_calibration(job: CalibrationJob) -> tuple[list[float], list[bool]]:
    """Load and violation of each outcome of one calibration replay."""
    domain = domain_named(job.scenario.domain)
    made: list[ReferenceCalibrator] = []

    def build(layout: Layout) -> ReferenceCalibrator:
        fallback = domain.make_heuristic(job.scenario.fallback, job.system, job.scenario.seed)
        calibrator = ReferenceCalibrator(
            fallback, layout, load_field=domain.load_field, capacity_per_s=job.capacity_per_s
        )
        made.append(calibrator)
        return made[0]

    replay(job.system, job.trace, build, job.scenario.objective, measured=whole_window(), seed=job.scenario.seed)
    return list(made[0].loads), [bool(x) for x in made[0].violated]


def calibrated(
    config: GuardConfig, capacity_per_s: float, outcomes: Sequence[tuple[list[float], list[bool]]]
) -> GuardConfig:
    """``config`` with its breaker's reference taken from the fallback's own outcomes.

    A config without a breaker stays as it is; so does one for which no outcome is known.
    """
    loads = [load for part, _ in outcomes for load in part]
    violated = [bad for _, part in outcomes for bad in part]
    if not loads:
        return config

    def with_reference(breaker: BreakerConfig) -> BreakerConfig:
        at, shares = reference_curve(loads, violated, window_outcomes=breaker.window_outcomes)
        return breaker.model_copy(update={"capacity_per_s": capacity_per_s, "loads": at, "shares": shares})

    checks = tuple(with_reference(c) if isinstance(c, BreakerConfig) else c for c in config.checks)
    return config.model_copy(update={"checks": checks})
