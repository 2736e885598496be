"""The breaker against a concurrent control: exact tests, and who is blamed for what."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from guard_stand import LAYOUT, context, ended, observe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handrail.policies.guards import ControlBreakerConfig, GuardConfig, build_guard
from handrail.policies.guards.checks import ControlBreaker
from handrail.policies.guards.checks.permutation import sign_flip_p, smallest_p, two_sample_p
from handrail.traces.errors import HandrailError

BLOCKS = ControlBreakerConfig(control="blocks", block_s=10.0, settle_s=5.0, level=0.01, margin=0.02, window_blocks=6)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_the_sign_flip_test_counts_all_sign_changes(values):
    seen, above = sum(values), 0
    for bits in range(1 << len(values)):
        above += sum(v if bits >> i & 1 else -v for i, v in enumerate(values)) >= seen
    assert sign_flip_p(values) == pytest.approx(above / (1 << len(values)))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_the_two_sample_test_counts_all_divisions(treated, control):
    n, pooled = len(treated), [*treated, *control]
    orders = list(permutations(pooled))
    assert two_sample_p(treated, control) == pytest.approx(
        sum(sum(o[:n]) >= sum(treated) for o in orders) / len(orders)
    )


def test_the_tests_keep_their_level_without_an_effect():
    rng = np.random.default_rng(np.random.SeedSequence(0))
    two = np.mean([two_sample_p(rng.exponential(size=6), rng.exponential(size=6)) <= 0.05 for _ in range(2000)])
    one = np.mean([sign_flip_p(rng.standard_t(3, size=8)) <= 0.05 for _ in range(2000)])
    assert two == pytest.approx(0.05, abs=0.015)
    assert one == pytest.approx(0.05, abs=0.015)
    assert (sign_flip_p([]), two_sample_p([], [1.0]), two_sample_p([1.0], [])) == (1.0, 1.0, 1.0)
    assert smallest_p(6, 6) == two_sample_p(range(6, 12), range(6)) == 1 / 924


def blocks(policy_share: float, control_share: float, seconds: int = 400, config=BLOCKS, spell_start: int = 0):
    """Kinds said when every other block is the control's; ten outcomes a second come back three seconds later."""
    check, rng = ControlBreaker(config, LAYOUT), np.random.default_rng(np.random.SeedSequence(1))
    said = []
    for i in range(10 * seconds):
        now_s, outcomes = i / 10, []
        if i >= 30:
            made = i - 30
            ruled = made // 100 % 2 == 0
            outcomes.append(ended(made, bool(rng.random() < (policy_share if ruled else control_share)), ruled))
        said.append(check.judge(context(now_s=now_s, decision=i, outcomes=outcomes, spell_start=spell_start)))
    return said


def test_a_policy_that_violates_more_than_its_control_trips():
    said = blocks(0.3, 0.05)
    trips = [v for v in said if v.kind == "trip"]
    assert trips
    assert trips[0].reason == "worse-than-control-blocks"
    assert dict(trips[0].evidence)["violations_share"] > 0.2
    assert {v.kind for v in said} == {"accept", "trip"}


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.6, 0.6), (0.06, 0.05), (0.05, 0.5)])
def test_a_shift_that_hurts_both_is_not_blamed_on_the_policy(shares):
    assert {v.kind for v in blocks(*shares)} == {"accept"}


def test_outcomes_of_earlier_spells_do_not_count():
    assert {v.kind for v in blocks(0.9, 0.0, seconds=200, spell_start=1900)} == {"accept"}


GHOST = ControlBreakerConfig(
    control="ghost",
    system_field="rate_10s",
    control_field="rate_60s",
    block_s=10.0,
    window_blocks=8,
    level=0.005,
    margin=0.1,
)


def ghost(per_s: float, ghost_per_s: float, spell_start: int = 0) -> list[str]:
    check, rng = ControlBreaker(GHOST, LAYOUT), np.random.default_rng(np.random.SeedSequence(2))
    system = shadow = 0
    said = []
    for i in range(200):
        seen = observe(rate_10s=system, rate_60s=shadow)
        said.append(check.judge(context(seen, now_s=float(i), decision=i, spell_start=spell_start)).reason)
        system, shadow = system + rng.poisson(per_s), shadow + rng.poisson(ghost_per_s)
    return said


def test_more_misses_than_the_ghost_trip_and_as_many_do_not():
    assert "worse-than-ghost" in ghost(30, 20)
    assert set(ghost(20, 20)) == {"ok"}
    assert set(ghost(10, 20)) == {"ok"}
    assert set(ghost(30, 20, spell_start=150)) == {"ok"}  # five blocks are not enough


class Priced:
    def __init__(self, extra: float) -> None:
        self._extra, self.asked = extra, 0

    def costs(self, actions, horizon_s, futures):
        self.asked += 1
        return np.array([[10.0 + self._extra * (action != 0)] * futures for action in actions])


@pytest.mark.parametrize(("extra", "trips"), [(2.0, True), (0.5, False), (-3.0, False)])
def test_sampled_forecasts_of_what_was_executed_are_cumulated(extra, trips):
    config = ControlBreakerConfig(control="twin", every=5, margin=0.1, window_blocks=8)
    check, forecast = ControlBreaker(config, LAYOUT), Priced(extra)
    assert check.needs_forecast
    said = []
    for i in range(100):
        here = context(action=1, decision=i, now_s=float(i), forecast=forecast)
        said.append(check.judge(here).reason)
        check.note_executed(here, 1 if i % 2 else 0)
    assert ("worse-than-twin" in said) == trips
    assert forecast.asked == 10  # of 50 executed proposals every fifth


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"control": "ghost"}, "system_field"),
        ({"control": "blocks", "system_field": "a", "control_field": "b"}, "system_field"),
        ({"control": "blocks", "window_blocks": 9}, "at most 8"),
        ({"control": "twin", "window_blocks": 13}, "at most 12"),
        ({"control": "blocks", "window_blocks": 3}, "p-value"),
    ],
)
def test_configs_that_cannot_work_are_refused(bad, text):
    with pytest.raises(ValidationError, match=text):
        ControlBreakerConfig(**bad)


def test_an_unknown_count_is_refused_when_the_guard_is_built():
    config = ControlBreakerConfig(control="ghost", system_field="misses", control_field="rate_60s")
    with pytest.raises(HandrailError, match="misses"):
        build_guard(GuardConfig(checks=(config,)), LAYOUT)
