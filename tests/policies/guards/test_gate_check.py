"""The gate: when it closes and opens, and whom it lets pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic_prefetch import LAYOUT, MENU, NEXT_LINE, NONE, OBL, READAHEAD, STRIDE, arms

from handrail.envs.llm_serving.layout import layout_for as routing_layout_for
from handrail.policies.guards import CheckContext, GateConfig
from handrail.policies.guards.checks import ExecutionWatcher, GateCheck
from handrail.traces.errors import HandrailError

# OBL wastes 0.2, and 0.2 of late; STRIDE little, but it has just gone astray; READAHEAD much, though not of late;
# NEXT_LINE all but nothing, but in bursts.
SHADOWS = [
    {},
    {"waste": 0.2, "issue_rate_64": 0.5, "coverage_64": 0.3},
    {"waste": 0.1, "issue_rate_64": 0.9, "coverage_64": 0.4, "degree": 1.0},
    {"waste": 0.6, "issue_rate_64": 3.0, "coverage_64": 2.9, "degree": 1.0},
    {"waste": 0.01, "issue_rate_64": 1.0, "coverage_64": 1.0},
]


def gate(**values: float) -> GateCheck:
    return GateCheck(GateConfig(**values), LAYOUT)


def at(action: int, utilisation: float = 0.5, delay: float = 0.0, fallback: int = OBL, shadows: Any = SHADOWS):
    observation = arms(*shadows, utilisation=utilisation, queueing_delay=delay)
    return CheckContext(observation, LAYOUT, 0.0, 0, None, fallback, proposal=action, action=action, malformed="")


def passes(check: GateCheck, **known: Any) -> list[bool]:
    """Which arms pass now; the gate's state is left as it is."""
    return [check.judge(at(action, **known)).kind == "accept" for action in range(len(MENU))]


BUSY = [True, True, False, False, False]


def test_while_the_tier_is_free_everything_passes():
    assert passes(gate()) == [True] * 5
    assert passes(gate(close_above=0.75), utilisation=0.75, delay=1.0) == [True] * 5  # at it is not above it


@pytest.mark.parametrize(("utilisation", "delay"), [(0.81, 0.0), (0.0, 1.1), (1.0, 100.0)])
def test_above_either_threshold_only_arms_that_add_no_more_work_than_the_fallback_pass(utilisation, delay):
    check = gate()
    assert passes(check, utilisation=utilisation, delay=delay) == BUSY
    assert passes(check, utilisation=utilisation, delay=delay, fallback=NONE) == [True] + [False] * 4
    # Behind a fallback that wastes most in the long run, STRIDE is held by what it wastes of late.
    assert passes(check, utilisation=utilisation, delay=delay, fallback=READAHEAD) == [True, False, False, True, False]


def test_an_arm_that_issues_more_passes_where_what_it_issues_is_used():
    shadows = [{}, {"waste": 0.1}, {"waste": 0.11, "issue_rate_64": 2.0, "coverage_64": 1.96, "degree": 1.0}, {}, {}]
    assert passes(gate(), utilisation=0.9, shadows=shadows)[STRIDE]
    assert not passes(gate(waste_margin=0.0), utilisation=0.9, shadows=shadows)[STRIDE]
    assert not passes(gate(waste_margin_64=0.01), utilisation=0.9, shadows=shadows)[STRIDE]


def test_bursts_pass_up_to_the_limit_or_to_the_fallbacks_degree():
    shadows = [{}] * 5
    assert passes(gate(), utilisation=0.9, shadows=shadows) == [True, True, False, False, False]
    assert passes(gate(most_at_once=4), utilisation=0.9, shadows=shadows) == [True, True, True, False, False]
    assert passes(gate(), utilisation=0.9, shadows=shadows, fallback=READAHEAD) == [True] * 5


def test_the_verdict_says_why():
    verdict = gate().judge(at(READAHEAD, utilisation=0.9, delay=1.0))
    assert (verdict.kind, verdict.check, verdict.reason) == ("veto", "gate", "tier-busy")
    assert dict(verdict.evidence) == pytest.approx(
        {"utilisation": 0.9, "queueing_delay": 1.0, "waste": 0.6, "limit": 0.22}
    )
    late = dict(gate().judge(at(STRIDE, utilisation=0.9)).evidence)
    assert (late["waste_64"], late["limit"]) == pytest.approx((0.5, 0.25))
    burst = gate().judge(at(NEXT_LINE, utilisation=0.9))
    assert burst.reason == "burst-at-busy-tier"
    assert (dict(burst.evidence)["degree"], dict(burst.evidence)["limit"]) == (32.0, 1.0)
    assert gate().judge(at(len(MENU))).reason == gate().judge(at(-1)).reason == "out-of-range"


def test_it_stays_closed_until_both_signals_are_below_their_lower_thresholds():
    check = gate()
    assert isinstance(check, ExecutionWatcher)
    steps = [
        ((0.7, 0.0), False),  # between the thresholds: as it was, open
        ((0.9, 0.0), True),
        ((0.7, 0.0), True),  # between: closed
        ((0.5, 0.8), True),  # one of them low is not enough
        ((0.6, 0.0), True),  # at the lower threshold is not below it
        ((0.59, 0.49), False),
        ((0.7, 0.9), False),
        ((0.0, 5.0), True),
        ((0.0, 0.0), False),
    ]
    for (utilisation, delay), closed in steps:
        expected = BUSY if closed else [True] * 5
        assert passes(check, utilisation=utilisation, delay=delay) == expected
        check.note_executed(at(OBL, utilisation, delay), OBL)


def test_it_watches_while_the_policy_is_not_asked():
    check = gate()
    check.note_executed(at(OBL, utilisation=0.95), OBL)
    assert passes(check, utilisation=0.7) == BUSY


@pytest.mark.parametrize("signal", ["utilisation", "delay"])
def test_a_signal_that_is_no_number_closes_and_does_not_open(signal):
    check = gate()
    broken: dict[str, Any] = {signal: float("nan")}
    assert passes(check, **broken) == BUSY
    check.note_executed(at(OBL, utilisation=0.9), OBL)
    check.note_executed(at(OBL, **broken), OBL)
    assert passes(check, utilisation=0.7) == BUSY


def test_a_shadow_that_is_no_number_does_not_pass_a_closed_gate():
    nan = float("nan")
    low = {"degree": 1.0}
    shadows = [{}, {}, low | {"waste": nan}, low | {"issue_rate_64": nan}, low | {"coverage_64": nan}]
    assert passes(gate(), utilisation=0.9, shadows=shadows) == [True, True, False, False, False]
    assert not passes(gate(), utilisation=0.9, shadows=[{}, {}, {"degree": nan}])[STRIDE]
    broken = [{}, {"waste": nan}, low, low, low]
    assert passes(gate(), utilisation=0.9, shadows=broken) == [False, True, False, False, False]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3), st.integers(0, 4)), max_size=30),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_behind_a_closed_gate_nobody_wastes_more_than_the_fallback_and_the_margin(steps, fallback, seed):
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    check, closed, limits = gate(), False, GateConfig()
    for utilisation, delay, action in steps:
        names = ("waste", "issue_rate_64", "coverage_64")
        shadows = [{}, *({name: float(rng.random()) * 0.2 for name in names} | {"degree": 1.0} for _ in range(4))]
        seen = at(action, utilisation, delay, fallback, shadows)
        # Of what the observation holds, in single precision.
        utilisation, delay = (LAYOUT.scalar(seen.observation, f) for f in ("utilisation", "queueing_delay"))
        if utilisation > 0.8 or delay > 1.0:
            closed = True
        elif utilisation < 0.6 and delay < 0.5:
            closed = False
        accepted = check.judge(seen).kind == "accept"
        waste, issued, covered = (LAYOUT.replica(seen.observation, name).astype(float) for name in names)
        late = np.maximum(issued - covered, 0.0)
        within = bool(
            waste[action] <= waste[fallback] + limits.waste_margin
            and late[action] <= late[fallback] + limits.waste_margin_64
        )
        assert accepted == (not closed or action == fallback or within)
        check.note_executed(seen, fallback)


def test_thresholds_must_be_in_order_and_the_layout_must_have_the_fields():
    with pytest.raises(ValidationError, match="must not be above its upper"):
        GateConfig(close_above=0.5, open_below=0.6)
    with pytest.raises(ValidationError, match="must not be above its upper"):
        GateConfig(close_above_delay=0.4)
    with pytest.raises(HandrailError, match="waste"):
        GateCheck(GateConfig(), routing_layout_for(2))
    assert passes(gate(close_above=0.2, open_below=0.1), utilisation=0.3) == BUSY
    assert passes(gate(close_above_delay=9.0), delay=8.0) == [True] * 5
