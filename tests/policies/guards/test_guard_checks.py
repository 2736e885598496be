"""Each check by itself, on contexts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from guard_stand import LAYOUT, context, ended, observe
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.policies.guards.checks import (
    BreakerConfig,
    ContractCheck,
    ContractConfig,
    CostMarginCheck,
    CostMarginConfig,
    OutcomeBreaker,
)
from handrail.policies.guards.context import read_action
from handrail.traces.errors import HandrailError


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        (2, (2, "")),
        (np.int64(3), (3, "")),
        (np.array(1), (1, "")),
        (np.array([2], dtype=np.int32), (2, "")),
        (np.array([[2]]), (2, "")),
        (np.float32(1.0), (1, "")),
        (-1, (-1, "")),
        (2**80, (2**80, "")),
        (float("nan"), (-1, "not-finite")),
        (np.array([np.inf]), (-1, "not-finite")),
        (1.5, (-1, "not-an-integer")),
        (np.array([1, 2]), (-1, "wrong-shape")),
        (np.array([]), (-1, "wrong-shape")),
        (np.array([True]), (-1, "wrong-type")),
        (np.array(["1"]), (-1, "wrong-type")),
        (np.array([None], dtype=object), (-1, "wrong-type")),
        (True, (-1, "wrong-type")),
        ("1", (-1, "wrong-type")),
        (None, (-1, "wrong-type")),
        ([1], (-1, "wrong-type")),
        (1 + 0j, (-1, "wrong-type")),
    ],
)
def test_a_proposal_is_read_as_an_integer_or_refused_with_a_reason(proposal, expected):
    assert read_action(proposal) == expected


@pytest.mark.parametrize(
    ("known", "kind", "reason"),
    [
        ({}, "accept", "ok"),
        ({"latency_s": 1e-3}, "accept", "ok"),
        ({"latency_s": 1.1e-3}, "veto", "latency-over-budget"),
        ({"latency_s": math.inf}, "veto", "latency-invalid"),
        ({"latency_s": math.nan}, "veto", "latency-invalid"),
        ({"latency_s": -1e-9}, "veto", "latency-invalid"),
        ({"error": "ValueError: x"}, "veto", "policy-raised"),
        ({"action": -1, "malformed": "not-finite"}, "veto", "not-finite"),
        ({"action": 4}, "veto", "out-of-range"),
        ({"action": -1}, "veto", "out-of-range"),
        ({"action": 10**400}, "veto", "out-of-range"),
        ({"action": 1, "mask": np.array([True, False, True, True])}, "veto", "masked-action"),
        ({"action": 1, "mask": np.array([False, True, False, False])}, "accept", "ok"),
    ],
)
def test_contract(known, kind, reason):
    verdict = ContractCheck(ContractConfig(), LAYOUT).judge(context(**known))
    assert (verdict.kind, verdict.reason) == (kind, reason)


def margin(absolute: float, relative: float = 0.0) -> CostMarginCheck:
    config = CostMarginConfig(field="ttft_s", absolute_margin=absolute, relative_margin=relative)
    return CostMarginCheck(config, LAYOUT)


def test_cost_margin_is_relative_plus_absolute():
    seen = observe(ttft_s=[1.0, 1.25, 1.5, 0.5])
    check = margin(0.125, 0.125)
    assert [check.judge(context(seen, action=a)).kind for a in range(4)] == ["accept", "accept", "veto", "accept"]
    verdict = check.judge(context(seen, action=2))
    assert verdict.reason == "ttft-s-over-margin"
    assert verdict.evidence == (("proposed", 1.5), ("limit", 1.25))
    assert verdict.check == "cost-margin:ttft_s"


def test_cost_margin_judges_against_the_fallbacks_choice_not_the_best():
    seen = observe(ttft_s=[5.0, 1.0, 5.05, 9.0])
    assert margin(0.1).judge(context(seen, action=2, fallback_action=0)).kind == "accept"
    assert margin(0.1).judge(context(seen, action=2, fallback_action=1)).kind == "veto"


def test_cost_margin_never_accepts_what_is_not_a_number_unless_it_is_the_fallbacks_choice():
    seen = observe(ttft_s=[math.nan, 1.0, math.inf, math.nan])
    check = margin(0.1)
    assert check.judge(context(seen, action=0)).kind == "accept"
    assert check.judge(context(seen, action=1)).reason == "cost-not-finite"
    assert check.judge(context(seen, action=3, fallback_action=1)).reason == "cost-not-finite"
    assert check.judge(context(seen, action=2, fallback_action=1)).reason == "cost-not-finite"


@pytest.mark.parametrize("action", [-1, 4, 2**80])
def test_cost_margin_survives_an_action_that_is_none(action):
    assert margin(0.1).judge(context(action=action)).reason == "out-of-range"


@settings(deadline=None)
@given(
    costs=st.lists(st.floats(0, 1e5, width=32), min_size=4, max_size=4),
    action=st.integers(0, 3),
    fallback=st.integers(0, 3),
    absolute=st.floats(0, 10),
    relative=st.floats(0, 2),
)
def test_what_cost_margin_accepts_is_within_its_limit(costs, action, fallback, absolute, relative):
    verdict = margin(absolute, relative).judge(context(observe(ttft_s=costs), action=action, fallback_action=fallback))
    within = costs[action] <= costs[fallback] * (1 + relative) + absolute
    assert (verdict.kind == "accept") == (within or action == fallback)


def breaker(**changes) -> OutcomeBreaker:
    settings = {
        "load_field": "rate_60s",
        "capacity_per_s": 10.0,
        "loads": (0.5, 1.0),
        "shares": (0.0, 0.8),
        "window_outcomes": 50,
        "min_outcomes": 10,
        "margin_share": 0.05,
        "z": 3.0,
        "design_effect": 1.0,
    }
    return OutcomeBreaker(BreakerConfig(**(settings | changes)), LAYOUT)


def feed(check: OutcomeBreaker, outcomes: list[bool], *, rate: float = 5.0, ruled: bool = True, start: int = 0) -> list:
    """One decision and one outcome (of that decision) at a time."""
    seen = observe(rate_60s=rate)
    return [
        check.judge(context(seen, decision=start + i, outcomes=[ended(start + i, violated, ruled)]))
        for i, violated in enumerate(outcomes)
    ]


def test_breaker_trips_on_violations_above_the_reference_and_only_with_enough_counts():
    verdicts = feed(breaker(), [True] * 12)
    assert [v.kind for v in verdicts] == ["accept"] * 9 + ["trip"] * 3
    assert verdicts[9].reason == "violations-over-reference"
    numbers = dict(verdicts[9].evidence)
    assert (numbers["violations"], numbers["outcomes"]) == (10, 10)
    assert numbers["limit"] == pytest.approx(10 * 0.05 + 3 * math.sqrt(10 * 0.05 * 0.95))


def test_breaker_allows_at_high_load_what_it_does_not_at_low():
    outcomes = [i % 10 < 6 for i in range(100)]
    assert "trip" in {v.kind for v in feed(breaker(), outcomes, rate=5.0)}
    assert {v.kind for v in feed(breaker(), outcomes, rate=10.0)} == {"accept"}


def test_breaker_does_not_count_what_the_fallback_ruled_or_an_earlier_spell():
    assert {v.kind for v in feed(breaker(), [True] * 40, ruled=False)} == {"accept"}
    check = breaker()
    feed(check, [False] * 30)
    late = [ended(i, True) for i in range(30)]
    verdict = check.judge(context(observe(rate_60s=5.0), decision=30, spell_start=30, outcomes=late))
    assert verdict.kind == "accept"


def test_a_new_spell_starts_with_an_empty_window():
    check = breaker()
    assert feed(check, [True] * 12)[-1].kind == "trip"
    seen = observe(rate_60s=5.0)
    verdict = check.judge(context(seen, decision=12, spell_start=12, outcomes=[ended(12, True)]))
    assert verdict.kind == "accept"


def test_breaker_forgets_outcomes_that_left_the_window():
    check = breaker(z=8.0)
    assert {v.kind for v in feed(check, [True] * 5 + [False] * 50)} == {"accept"}
    assert check._violations == 0


def test_breaker_charges_an_outcome_at_the_higher_of_its_two_loads():
    quiet, crowd = observe(rate_60s=5.0), observe(rate_60s=10.0)
    for first, second in ((quiet, crowd), (crowd, quiet)):
        check = breaker()
        for i in range(12):
            check.judge(context(first, decision=i))
        verdict = check.judge(context(second, decision=12, outcomes=[ended(i, i % 10 < 6) for i in range(12)]))
        assert verdict.kind == "accept"
    check = breaker()
    for i in range(12):
        check.judge(context(quiet, decision=i))
    verdict = check.judge(context(quiet, decision=12, outcomes=[ended(i, i % 10 < 6) for i in range(12)]))
    assert verdict.kind == "trip"


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_broken_rate_excuses_nothing(rate):
    assert feed(breaker(), [True] * 12, rate=rate)[-1].kind == "trip"


@settings(deadline=None)
@given(st.floats(-1, 3), st.floats(-1, 3))
def test_reference_is_monotone_and_within_its_shares(a, b):
    config = breaker(loads=(0.25, 0.5, 1.0), shares=(0.1, 0.2, 0.9))._config
    low, high = sorted((a, b))
    assert 0.1 <= config.reference_share(low) <= config.reference_share(high) <= 0.9
    assert config.reference_share(0.75) == pytest.approx(0.55)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=150), st.floats(0, 12))
def test_sliding_sums_equal_sums_over_the_window(outcomes, rate):
    check = breaker(window_outcomes=20, design_effect=2.0)
    verdict = feed(check, outcomes, rate=rate)[-1]
    last = outcomes[-20:]
    p = min(check._config.reference_share(float(np.float32(rate)) / 10.0) + 0.05, 1.0)
    limit = len(last) * p + 3 * math.sqrt(2 * len(last) * p * (1 - p))
    if abs(sum(last) - limit) > 1e-9:
        assert (verdict.kind == "trip") == (len(last) >= 10 and sum(last) > limit)


def test_a_field_that_the_layout_lacks_is_the_users_mistake():
    with pytest.raises(HandrailError, match="no_such"):
        CostMarginCheck(CostMarginConfig(field="no_such", absolute_margin=0.1), LAYOUT)
    with pytest.raises(HandrailError, match="no_such"):
        breaker(load_field="no_such")
