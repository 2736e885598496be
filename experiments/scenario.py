"""What is replayed: a trace, the window of it, its load and the fleet under it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..envs.llm_serving import FleetConfig
from ..envs.llm_serving.metrics import Objective
from ..policies.heuristics.llm_serving import HEURISTICS
from ..traces import RequestTrace
from ..traces.errors import HandrailError
from .capacity import measure_capacity
from .load import LoadChange, LoadMethod, change_load, change_rate
from .splits import MeasuredWindow, SplitName, cut_split, measured_window, split_parts, whole_window

DEFAULT_REPLICAS = "h100:2,a100:2"
DEFAULT_FALLBACK = "expected-drain"
"""The heuristic that validation shows to be the strongest; a constant, never chosen per run."""
DEFAULT_LOAD = 0.8


class Scenario(BaseModel):
    """What is replayed; frozen, unknown keys refused.

    Attributes:
        window_s: Part of the trace that is used, [start, end) in seconds of its own time; None for all of it.
        split: Part of that window by time; None for all of it, unless the policy was trained on the trace.
        rate: Factor on the arrival rate; None where ``load`` says it, or nothing changes it.
        load: Share of the fleet's capacity to bring the arrival rate to; None where ``rate`` says it.
        load_by: How the rate is changed; None for the default rule.
        replicas: The fleet, as ``gpu:count,...``.
        preset: The replicas' scheduler.
        telemetry_delay_s: Age of what replicas report to the router, in seconds.
        objective: Service-level objective.
        fallback: Heuristic under which capacity is measured, and on which a guard falls back.
        whole: Measure every arrival: no warm-up, no cool-down.
        seed: Seed of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: tuple[float, float] | None = None
    split: SplitName | None = None
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    load: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    load_by: LoadMethod | None = None
    replicas: str = DEFAULT_REPLICAS
    preset: Literal["vllm-v1", "vllm-v0"] = "vllm-v1"
    telemetry_delay_s: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    objective: Objective = Objective()
    fallback: str = DEFAULT_FALLBACK
    whole: bool = False
    seed: int = Field(default=0, ge=0)

    def checked_fleet(self) -> FleetConfig:
        """The fleet's config, once the options are seen to go together.

        Raises:
            HandrailError: They do not, ``replicas`` is not understood, or there is no such fallback.
        """
        if self.fallback not in HEURISTICS:
            raise HandrailError(f"no heuristic is named {self.fallback!r}; choose one of {', '.join(HEURISTICS)}")
        if self.rate is not None and self.load is not None:
            raise HandrailError("--rate and --load both set the arrival rate; give one of them")
        return FleetConfig.parse(self.replicas, preset=self.preset, telemetry_delay_s=self.telemetry_delay_s)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario made ready to replay.

    Attributes:
        scenario: Where it came from.
        source_hash: Content hash of the whole trace as it was read.
        trace: The requests to replay.
        fleet: The fleet that serves them.
        measured: Which arrivals are measured.
        change: What was done to the arrival rate.
        gap_s: Seconds of the trace's own time left out before the split, 0 where nothing comes before it.
    """

    scenario: Scenario
    source_hash: str
    trace: RequestTrace
    fleet: FleetConfig
    measured: MeasuredWindow
    change: LoadChange
    gap_s: float


def prepare(trace: RequestTrace, scenario: Scenario, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """Cut, load and measure as ``scenario`` says.

    Args:
        trace: The whole trace.
        scenario: What to make of it.
        say: Told in a few words what takes time.

    Raises:
        HandrailError: An option does not fit the trace or the fleet.
    """
    fleet = scenario.checked_fleet()
    if len(trace) == 0:
        raise HandrailError(f"{trace.name}: the trace holds no request")
    source_hash = trace.content_hash
    window = trace if scenario.window_s is None else _cut_window(trace, *scenario.window_s)
    split = scenario.split or "all"
    part = cut_split(window, split)
    if (part.output_tokens < 1).any():
        raise HandrailError(f"{trace.name}: failed requests (0 output tokens) cannot be replayed; drop or retry them")
    capacity_rps = None
    if scenario.load is not None:
        say("measuring the fleet's capacity")
        capacity_rps = measure_capacity(fleet, part, scenario.fallback, scenario.seed).rps
    if scenario.load is not None and capacity_rps is not None:
        loaded, change = change_load(part, scenario.load, capacity_rps, scenario.load_by, scenario.seed)
    else:
        factor = 1.0 if scenario.rate is None else scenario.rate
        loaded, change = change_rate(part, factor, scenario.load_by or "compress", scenario.seed)
    measured = whole_window() if scenario.whole else measured_window(loaded)
    gap_s = split_parts(window)[split].gap_s / change.compression
    return Prepared(scenario, source_hash, loaded, fleet, measured, change, gap_s)


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


def _cut_window(trace: RequestTrace, start_s: float, end_s: float) -> RequestTrace:
    window = trace.window(start_s, end_s)
    if len(window) == 0:
        raise HandrailError(
            f"{trace.name}: no request arrives in --window {start_s:g}:{end_s:g}; "
            f"the trace lasts from {trace.arrival_s[0]:g} to {trace.arrival_s[-1]:g} s"
        )
    return window
