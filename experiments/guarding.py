"""The guard of a comparison: the policy folder's thresholds or the defaults, with what must be measured measured.

The outcome breaker compares violations with the fallback's own share of them at that load. That share belongs to a
system and a trace, so it is measured by replaying the fallback alone over the trace's validation part, a little below,
at and above the load that is asked for. Where a guard lists ``novelty``, or ranges for ``plausibility``, the same
replays say what observations are like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.common import Layout
from ..policies.guards import (
    BreakerConfig,
    CheckModel,
    CostMarginConfig,
    GateConfig,
    GuardConfig,
    NoveltyCalibrator,
    NoveltyConfig,
    ObservedSample,
    PlausibilityConfig,
    ReferenceCalibrator,
    ReservationConfig,
    fit_novelty,
    fit_ranges,
    load_guard,
    reference_curve,
)
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


@dataclass(frozen=True, slots=True)
class CalibrationRun:
    """What one calibration replay showed.

    Attributes:
        loads: Load that each outcome is charged at.
        violated: Whether each outcome missed its objective.
        layout: Layout of the observations.
        sample: What was observed.
    """

    loads: list[float]
    violated: list[bool]
    layout: Layout
    sample: ObservedSample


def guard_thresholds(policy_spec: str, system: Any, guard_file: Path | None = None) -> GuardConfig:
    """The guard in a file, else that of a policy folder (``guard.json``), else the default of the system's domain.

    It is fitted to the system. Whether there is such a policy is not asked: ``Domain.make_policy`` says that.

    Args:
        policy_spec: What ``--policy`` takes.
        system: What the trace is replayed on.
        guard_file: What ``--guard`` takes: a guard in YAML or JSON.

    Raises:
        HandrailError: The file cannot be read, or is no guard config.
    """
    domain = domain_of(system)
    folder = domain.bundled_folder if policy_spec == BUNDLED else Path(policy_spec)
    path = guard_file if guard_file is not None else folder / GUARD_FILE
    if guard_file is None and not path.is_file():
        return domain.fit_guard(domain.default_guard(system), system)
    return domain.fit_guard(load_guard(path), system)


def calibration_jobs(
    window: Any, system: Any, scenario: Scenario, change: RateChange, capacity_per_s: float
) -> list[CalibrationJob]:
    """The replays that calibrate the guard.

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


def run_calibration(job: CalibrationJob) -> CalibrationRun:
    """Outcomes and observations of one calibration replay."""
    domain = domain_named(job.scenario.domain)
    made: list[tuple[Layout, ReferenceCalibrator, NoveltyCalibrator]] = []

    def build(layout: Layout) -> NoveltyCalibrator:
        fallback = domain.make_heuristic(job.scenario.fallback, job.system, job.scenario.seed)
        reference = ReferenceCalibrator(
            fallback, layout, load_field=domain.load_field, capacity_per_s=job.capacity_per_s
        )
        made.append((layout, reference, NoveltyCalibrator(reference, layout, seed=job.scenario.seed)))
        return made[0][2]

    replay(job.system, job.trace, build, job.scenario.objective, measured=whole_window(), seed=job.scenario.seed)
    layout, reference, observed = made[0]
    return CalibrationRun(list(reference.loads), [bool(x) for x in reference.violated], layout, observed.sample())


def calibrated(config: GuardConfig, capacity_per_s: float, runs: Sequence[CalibrationRun]) -> GuardConfig:
    """``config`` with what is measured taken from the fallback's own runs.

    These are the breaker's reference, the model of novelty (unless it has one) and the ranges of plausibility (unless
    they are given). A breaker for which no outcome is known stays as it is.

    Raises:
        HandrailError: There are too few observations for what the guard lists.
    """
    loads = [load for run in runs for load in run.loads]
    violated = [bad for run in runs for bad in run.violated]
    samples = [run.sample for run in runs]

    def measured(check: CheckModel) -> CheckModel:
        if isinstance(check, BreakerConfig) and loads:
            at, shares = reference_curve(loads, violated, window_outcomes=check.window_outcomes)
            return check.model_copy(update={"capacity_per_s": capacity_per_s, "loads": at, "shares": shares})
        if runs and isinstance(check, NoveltyConfig) and check.model is None:
            return fit_novelty(check, runs[0].layout, samples)
        if runs and isinstance(check, PlausibilityConfig) and not check.range_low:
            return fit_ranges(check, runs[0].layout, samples)
        return check

    return config.model_copy(update={"checks": tuple([measured(check) for check in config.checks])})


def scaled_margins(config: GuardConfig, factor: float) -> GuardConfig:
    """The guard with all its margins multiplied by ``factor``: how much a policy may cost more than the fallback."""
    if factor == 1.0:
        return config

    def wider(check: Any) -> Any:
        names: tuple[str, ...] = ()
        if isinstance(check, CostMarginConfig):
            names = ("absolute_margin", "relative_margin")
        elif isinstance(check, ReservationConfig):
            names = ("margin_s",)
        elif isinstance(check, GateConfig):
            names = ("waste_margin", "waste_margin_64")
        return check.model_copy(update={name: factor * getattr(check, name) for name in names})

    return config.model_copy(update={"checks": tuple(wider(check) for check in config.checks)})
