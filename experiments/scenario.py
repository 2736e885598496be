"""What is replayed: a trace, the window of it, its load and the system under it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ..traces.errors import HandrailError
from .domains import Domain, domain_named
from .load import RateChange
from .rescale import LoadMethod
from .splits import MeasuredWindow, SplitName, cut_split, measured_window, split_parts, whole_window


class Scenario(BaseModel):
    """What is replayed, as far as all domains share it; frozen, unknown keys refused. Each domain adds its system.

    Attributes:
        domain: Name of the domain.
        window_s: Part of the trace that is used, [start, end) in seconds of its own time; None for all of it.
        split: Part of that window by time; None for all of it, unless the policy was trained on the trace.
        rate: Factor on the arrival rate; None where ``load`` says it, or nothing changes it.
        load: Share of the system's capacity to bring the arrival rate to; None where ``rate`` says it.
        load_by: How the rate is changed; None for the default rule.
        objective: What counts as a violation; of the domain's own type.
        fallback: Heuristic to compare with, and on which a guard falls back.
        whole: Measure every arrival: no warm-up, no cool-down.
        seed: Seed of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: ClassVar[str]

    window_s: tuple[float, float] | None = None
    split: SplitName | None = None
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    load: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    load_by: LoadMethod | None = None
    objective: Any = None
    fallback: str = ""
    whole: bool = False
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario made ready to replay.

    Attributes:
        scenario: Where it came from.
        source_hash: Content hash of the whole trace as it was read.
        trace: What is replayed.
        system: What it is replayed on.
        measured: Which arrivals are measured.
        change: What was done to the arrival rate.
        gap_s: Seconds of the trace's own time left out before the split, 0 where nothing comes before it.
    """

    scenario: Any
    source_hash: str
    trace: Any
    system: Any
    measured: MeasuredWindow
    change: RateChange
    gap_s: float

    @property
    def domain(self) -> Domain:
        """The domain that it is of."""
        return domain_named(self.scenario.domain)


def prepare(trace: Any, scenario: Scenario, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """Cut, load and measure as ``scenario`` says.

    Args:
        trace: The whole trace.
        scenario: What to make of it.
        say: Told in a few words what takes time.

    Raises:
        HandrailError: An option does not fit the trace or the system.
    """
    domain = domain_named(scenario.domain)
    check(scenario)
    if len(trace) == 0:
        raise HandrailError(f"{trace.name}: the trace holds no {domain.item}")
    source_hash = trace.content_hash
    window = cut_window(trace, scenario)
    system = domain.system(scenario, window)
    split = scenario.split or "all"
    part = cut_split(window, split, domain.margins)
    domain.check_part(part)
    loaded, change = domain.bring_to_load(part, system, scenario, say)
    measured = whole_window() if scenario.whole else measured_window(loaded, domain.margins)
    gap_s = split_parts(window, domain.margins)[split].gap_s / change.compression
    return Prepared(scenario, source_hash, loaded, system, measured, change, gap_s)


def check(scenario: Scenario) -> None:
    """Refuse a scenario whose options do not go together, before any work.

    Raises:
        HandrailError: They do not.
    """
    domain = domain_named(scenario.domain)
    if scenario.fallback not in domain.heuristics:
        raise HandrailError(
            f"no heuristic is named {scenario.fallback!r}; choose one of {', '.join(domain.heuristics)}"
        )
    if scenario.rate is not None and scenario.load is not None:
        raise HandrailError("--rate and --load both set the arrival rate; give one of them")
    domain.check(scenario)


def cut_window(trace: Any, scenario: Scenario) -> Any:
    """The scenario's window of the whole trace, at its own rate.

    Raises:
        HandrailError: Nothing arrives in it.
    """
    if scenario.window_s is None:
        return trace
    start_s, end_s = scenario.window_s
    window = trace.window(start_s, end_s)
    if len(window) == 0:
        raise HandrailError(
            f"{trace.name}: no {domain_named(scenario.domain).item} arrives in --window {start_s:g}:{end_s:g}; "
            f"the trace lasts from {trace.arrival_s[0]:g} to {trace.arrival_s[-1]:g} s"
        )
    return window


def parse_window(text: str) -> tuple[float, float]:
    """``START:END`` in seconds; either may be left out.

    Raises:
        HandrailError: It is not of that form, or START is not before END.
    """
    start_text, colon, end_text = text.partition(":")
    try:
        start_s = float(start_text) if start_text.strip() else 0.0
        end_s = float(end_text) if end_text.strip() else math.inf
    except ValueError:
        colon = ""
        start_s, end_s = 0.0, 0.0
    if not colon or not (0 <= start_s < end_s) or math.isnan(end_s):
        raise HandrailError(f"--window {text!r} is not START:END in seconds with START before END, as in 600:1200")
    return start_s, end_s
