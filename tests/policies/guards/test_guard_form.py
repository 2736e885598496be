"""What a guard refuses of checks that users write: stages, costs and verdicts that there are none of."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from guard_stand import LAYOUT, Fixed, drive

from handrail.policies.guards import (
    CheckModel,
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    Verdict,
    build_guard,
    register_check,
)
from handrail.policies.guards.guard import Guard
from handrail.traces.errors import HandrailError


class Says:
    """Says the same of every decision."""

    name = "says"
    fault = False

    def __init__(self, kind: Any = "accept", stage: Any = "proposal", cost_us: Any = 0.1) -> None:
        self.kind, self.stage, self.cost_us = kind, stage, cost_us

    def judge(self, context: Any) -> Verdict:
        return Verdict(self.kind, self.name, "some-reason")


class SaysConfig(CheckModel):
    """Config of :class:`Says`, as a user registers it."""

    check: Literal["says"] = "says"
    stage: str = "proposal"


register_check(SaysConfig, lambda config, layout: Says(stage=config.stage))


@pytest.mark.parametrize("stage", ["sensors", "outcomes", "proposal"])
@pytest.mark.parametrize("kind", ["Veto", "ok", "", None])
def test_a_verdict_of_no_known_kind_is_refused_and_not_counted(stage: str, kind: Any):
    guarded = GuardedPolicy(Fixed(3), Fixed(0), Guard([Says(kind, stage)], SupervisorConfig()), LAYOUT)
    with pytest.raises(
        HandrailError, match=r"check 'says': its verdict is of kind .*one of accept, veto or trip"
    ) as told:
        drive(guarded, 1)
    assert repr(kind) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("stage", ["sensors", "outcomes", "proposal"])
@pytest.mark.parametrize(("kind", "executed"), [("accept", 3), ("veto", 0), ("trip", 0)])
def test_the_known_kinds_do_what_they_say(stage: str, kind: str, executed: int):
    guard = Guard([Says(kind, stage)], SupervisorConfig())
    assert drive(GuardedPolicy(Fixed(3), Fixed(0), guard, LAYOUT, last_rung=Fixed(0)), 1) == [executed]


def test_the_second_veto_of_a_stage_is_no_mistake():
    first, second = Says("veto", "outcomes"), Says("veto", "outcomes")
    second.name = "also"
    guarded = GuardedPolicy(Fixed(3), Fixed(0), Guard([first, second], SupervisorConfig()), LAYOUT)
    assert drive(guarded, 2) == [0, 0]


@pytest.mark.parametrize("stage", ["proposals", "Sensors", "", None])
def test_a_stage_that_there_is_none_of_is_refused(stage: Any):
    message = r"check 'says': its stage is .*; it must be one of sensors, outcomes or proposal"
    with pytest.raises(HandrailError, match=message):
        Guard([Says(stage=stage)], SupervisorConfig())


@pytest.mark.parametrize("cost_us", [math.nan, math.inf, -0.1, "1", None, True])
def test_a_cost_that_is_no_number_of_microseconds_is_refused(cost_us: Any):
    with pytest.raises(HandrailError, match=r"check 'says': its cost_us is .*; it must be a finite number"):
        Guard([Says(cost_us=cost_us)], SupervisorConfig())


def test_a_check_may_cost_nothing():
    assert Guard([Says(cost_us=0)], SupervisorConfig()).proposal_checks


def test_what_is_built_from_a_config_is_refused_too():
    assert build_guard(GuardConfig(checks=(SaysConfig(),)), LAYOUT).checks
    with pytest.raises(HandrailError, match="check 'says': its stage is 'late'"):
        build_guard(GuardConfig(checks=(SaysConfig(stage="late"),)), LAYOUT)
