"""The rate limit: a token bucket of changes, and the bound that it proves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from guard_stand import LAYOUT, context, drive, guarded_by, observe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handrail.policies.guards import ContractConfig, GuardConfig, RateLimitConfig, SupervisorConfig, build_guard
from handrail.policies.guards.checks import RateLimitCheck
from handrail.policies.interface import Feedback
from handrail.traces.errors import HandrailError

PATIENT = SupervisorConfig(veto_window_decisions=10**6, veto_share_limit=1.0)


class Scripted:
    """Answers with a list, one after the other."""

    def __init__(self, actions) -> None:
        self._actions = iter(actions)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return next(self._actions), state


def test_a_flapping_policy_is_held_to_the_rate():
    config = GuardConfig(
        checks=(ContractConfig(), RateLimitConfig(burst_changes=3, changes_per_decision=0.1)), supervisor=PATIENT
    )
    guarded = guarded_by(config, Scripted([1, 2] * 200))
    actions = drive(guarded, 400)
    changes = sum(a != b and b != 0 for a, b in pairwise(actions))
    assert changes <= 3 + 0.1 * 400
    assert guarded.interventions["changes-over-rate"] > 300


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 5)), min_size=1, max_size=120),
    st.floats(1, 5),
    st.floats(0.0, 1.0),
    st.floats(0.01, 0.5),
)
def test_changes_in_any_stretch_stay_within_the_bound(steps, burst, per_s, per_decision):
    config = RateLimitConfig(burst_changes=burst, changes_per_s=per_s, changes_per_decision=per_decision)
    guard = GuardConfig(checks=(ContractConfig(), config), supervisor=PATIENT)
    fallback = Scripted([f for _, f, _ in steps])
    guarded = guarded_by(guard, Scripted([p for p, _, _ in steps]), fallback)
    now_s, times, changed, last = 0.0, [], [], None
    for i, (_, fell_back, gap_s) in enumerate(steps):
        now_s += gap_s
        guarded.notify(Feedback(now_s, i))
        action, _ = guarded.predict(observe())
        times.append(now_s)
        changed.append(last is not None and action not in (last, fell_back))
        last = action
    for a in range(len(steps)):
        for b in range(a, len(steps)):
            limit = burst + per_s * (times[b] - times[a]) + per_decision * (b - a)
            assert sum(changed[a : b + 1]) <= limit + 1e-6


def test_what_is_in_force_may_be_read_from_the_observation():
    check = RateLimitCheck(RateLimitConfig(burst_changes=1, changes_per_s=0.1, current_field="up"), LAYOUT)
    in_force = observe(up=[0, 0, 1, 0])

    def step(action: int, now_s: float) -> str:
        here = context(in_force, action=action, now_s=now_s)
        verdict = check.judge(here)
        check.note_executed(here, action if verdict.kind == "accept" else 0)
        return verdict.reason

    assert [step(a, t) for a, t in [(2, 0.0), (3, 0.0), (3, 1.0), (2, 1.0), (0, 1.0), (3, 11.5)]] == [
        "ok",
        "ok",
        "changes-over-rate",
        "ok",  # in force already
        "ok",  # the fallback's own
        "ok",  # a token has come back
    ]


def test_configs_that_cannot_work_are_refused():
    with pytest.raises(ValidationError, match="comes back"):
        RateLimitConfig(burst_changes=3)
    with pytest.raises(HandrailError, match="arm"):
        build_guard(GuardConfig(checks=(RateLimitConfig(changes_per_s=1.0, current_field="arm"),)), LAYOUT)
    assert RateLimitCheck(RateLimitConfig(changes_per_s=1.0), LAYOUT).judge(context(action=9)).reason == "out-of-range"
