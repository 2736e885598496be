"""The gate: when it closes and opens, and whom it lets pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic_prefetch import LAYOUT, MENU, NONE, OBL, READAHEAD, STRIDE, arms

from handrail.envs.llm_serving.layout import layout_for as routing_layout_for
from handrail.policies.guards import CheckContext, GateConfig
from handrail.policies.guards.checks import ExecutionWatcher, GateCheck
from handrail.traces.errors import HandrailError

RATES = [
    {},
    {"issue_rate": 0.2, "issue_rate_64": 0.2},
    {"issue_rate": 0.1, "issue_rate_64": 0.5},
    {"issue_rate": 3.0, "issue_rate_64": 0.1},
    {"issue_rate": 0.2, "issue_rate_64": 0.2},
]


def gate(**values: float) -> GateCheck:
    return GateCheck(GateConfig(**values), LAYOUT)


def at(action: int, utilisation: float = 0.5, delay: float = 0.0, fallback: int = OBL, rates: Any = RATES):
    observation = arms(*rates, utilisation=utilisation, queueing_delay=delay)
    return CheckContext(observation, LAYOUT, 0.0, 0, None, fallback, proposal=action, action=action, malformed="")


def passes(check: GateCheck, **known: Any) -> list[bool]:
    """Which arms pass now; the gate's state is left as it is."""
    return [check.judge(at(action, **known)).kind == "accept" for action in range(len(MENU))]


BUSY = [True, True, False, False, True]


def test_while_the_tier_is_free_everything_passes():
    assert passes(gate()) == [True] * 5
    assert passes(gate(close_above=0.75), utilisation=0.75, delay=4.0) == [True] * 5  # at it is not above it


@pytest.mark.parametrize(("utilisation", "delay"), [(0.81, 0.0), (0.0, 4.1), (1.0, 100.0)])
def test_above_either_threshold_only_arms_that_issue_no_more_than_the_fallback_pass(utilisation, delay):
    check = gate()
    assert passes(check, utilisation=utilisation, delay=delay) == BUSY
    assert passes(check, utilisation=utilisation, delay=delay, fallback=NONE) == [True] + [False] * 4
    # Behind a fallback that issues most nearly all pass; READAHEAD has been quiet of late, STRIDE has woken up.
    assert passes(check, utilisation=utilisation, delay=delay, fallback=READAHEAD) == [True, False, False, True, False]


def test_the_verdict_says_why():
    verdict = gate().judge(at(READAHEAD, utilisation=0.9, delay=1.0))
    assert (verdict.kind, verdict.check, verdict.reason) == ("veto", "gate", "tier-busy")
    assert dict(verdict.evidence) == pytest.approx(
        {"utilisation": 0.9, "queueing_delay": 1.0, "issue_rate": 3.0, "limit": 0.2}
    )
    assert dict(gate().judge(at(STRIDE, utilisation=0.9)).evidence)["issue_rate_64"] == 0.5
    assert gate().judge(at(len(MENU))).reason == gate().judge(at(-1)).reason == "out-of-range"


def test_it_stays_closed_until_both_signals_are_below_their_lower_thresholds():
    check = gate()
    assert isinstance(check, ExecutionWatcher)
    steps = [
        ((0.7, 0.0), False),  # between the thresholds: as it was, open
        ((0.9, 0.0), True),
        ((0.7, 0.0), True),  # between: closed
        ((0.5, 3.0), True),  # one of them low is not enough
        ((0.6, 0.0), True),  # at the lower threshold is not below it
        ((0.59, 1.9), False),
        ((0.7, 3.0), False),
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


def test_a_rate_that_is_no_number_does_not_pass_a_closed_gate():
    rates = [{}, {"issue_rate": 0.2}, {"issue_rate": float("nan")}, {"issue_rate_64": float("nan")}, {}]
    assert passes(gate(), utilisation=0.9, rates=rates) == [True, True, False, False, True]
    broken = [{}, {"issue_rate": float("nan")}, {}, {}, {}]
    assert passes(gate(), utilisation=0.9, rates=broken) == [False, True, False, False, False]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 10), st.integers(0, 4)), max_size=30), st.integers(0, 4))
def test_behind_a_closed_gate_nobody_issues_more_than_the_fallback(steps, fallback):
    check, closed = gate(), False
    for utilisation, delay, action in steps:
        seen = at(action, utilisation, delay, fallback)
        # Of what the observation holds, in single precision.
        utilisation, delay = (LAYOUT.scalar(seen.observation, f) for f in ("utilisation", "queueing_delay"))
        if utilisation > 0.8 or delay > 4.0:
            closed = True
        elif utilisation < 0.6 and delay < 2.0:
            closed = False
        accepted = check.judge(seen).kind == "accept"
        if closed and accepted:
            for field in ("issue_rate", "issue_rate_64"):
                rates = LAYOUT.replica(seen.observation, field)
                assert rates[action] <= rates[fallback]
        if not closed or action in (fallback, NONE):
            assert accepted
        check.note_executed(seen, fallback)


def test_thresholds_must_be_in_order_and_the_layout_must_have_the_fields():
    with pytest.raises(ValidationError, match="must not be above its upper"):
        GateConfig(close_above=0.5, open_below=0.6)
    with pytest.raises(ValidationError, match="must not be above its upper"):
        GateConfig(close_above_delay=1.0)
    with pytest.raises(HandrailError, match="issue_rate"):
        GateCheck(GateConfig(), routing_layout_for(2))
    assert passes(gate(close_above=0.2, open_below=0.1), utilisation=0.3) == BUSY
    assert passes(gate(close_above_delay=9.0), delay=8.0) == [True] * 5
