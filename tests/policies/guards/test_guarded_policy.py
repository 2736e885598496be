"""The guarded policy: faults of the policy are contained, each layer works with the others off, all is recorded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from guard_stand import LAYOUT, Fixed, Raising, drive, guarded_by, observe

from handrail.policies.guards import (
    BreakerConfig,
    ContractConfig,
    CostMarginConfig,
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    build_guard,
)
from handrail.policies.interface import Feedback, OutcomeSignal, Policy
from handrail.traces.errors import HandrailError

CONTRACT = GuardConfig(checks=(ContractConfig(),))
PATIENT = SupervisorConfig(faults_in_a_row=10**6, veto_window_decisions=10**6, veto_share_limit=1.0)
BREAKER = BreakerConfig(load_field="rate_60s", capacity_per_s=1.0, loads=(0.0,), shares=(0.05,))


def test_it_is_a_policy():
    assert isinstance(guarded_by(CONTRACT, Fixed(1)), Policy)


def test_an_accepted_proposal_is_executed():
    guarded = guarded_by(CONTRACT, Fixed(np.array([2])))
    assert drive(guarded, 5) == [2] * 5
    assert guarded.availability == 1.0
    assert guarded.interventions == {}
    assert guarded.difference == 1.0


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Fixed(math.nan), "not-finite"),
        (Fixed(np.array([np.nan])), "not-finite"),
        (Fixed(np.array([1, 2])), "wrong-shape"),
        (Fixed(None), "wrong-type"),
        (Fixed("2"), "wrong-type"),
        (Fixed(4), "out-of-range"),
        (Fixed(-1), "out-of-range"),
        (Fixed(2**70), "out-of-range"),
        (Fixed(3), "masked-action"),
        (Fixed(1, latency_s=0.5), "latency-over-budget"),
        (Fixed(1, latency_s=math.nan), "latency-invalid"),
        (Fixed(1, latency_s="soon"), "policy-raised"),  # type: ignore[arg-type]
        (Raising(), "policy-raised"),
        (Raising(SystemExit(3)), "policy-raised"),
        (Raising(MemoryError()), "policy-raised"),
    ],
)
def test_every_broken_policy_is_contained_and_soon_not_called(policy, reason):
    guarded = guarded_by(CONTRACT, policy)
    mask = np.array([True, True, True, False])
    assert drive(guarded, 200, mask=mask) == [0] * 200
    assert guarded.availability == 0.0
    assert guarded.state == "open"
    assert policy.calls == 3
    assert guarded.interventions == {reason: 3, "open": 197}


def test_a_broken_policy_is_probed_with_backoff_and_taken_back_when_mended():
    policy = Fixed(math.nan)
    guarded = guarded_by(CONTRACT, policy)
    drive(guarded, 2_000, step_s=1.0)
    asked = np.flatnonzero(guarded.recorder.column("asked"))
    # 30 s, then 60, 120, 240, 480 and the cap of 900 s after each failed probe.
    assert asked.tolist() == [0, 1, 2, 32, 92, 212, 452, 932, 1832]
    policy.answer = 1
    actions = drive(guarded, 1_500, step_s=1.0)
    assert guarded.state == "closed"
    assert set(actions[2_000:2_732]) == {0}
    assert set(actions[2_732:]) == {1}


def test_interrupts_are_not_swallowed():
    guarded = guarded_by(CONTRACT, Raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        drive(guarded, 1)


def test_the_fallbacks_exception_is_not_contained():
    with pytest.raises(ZeroDivisionError):
        drive(guarded_by(CONTRACT, Fixed(1), Raising(ZeroDivisionError())), 1)


def test_an_answer_that_is_no_pair_is_contained():
    class Bare(Fixed):
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            return 1

    guarded = guarded_by(CONTRACT, Bare(1))
    assert drive(guarded, 1) == [0]
    assert guarded.interventions == {"wrong-shape": 1}


def test_the_text_of_an_exception_is_kept_even_where_it_has_none():
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    guarded = guarded_by(CONTRACT, Raising())
    drive(guarded, 1)
    assert guarded.last_error == "RuntimeError: broken"
    guarded = guarded_by(CONTRACT, Raising(Mute()))
    drive(guarded, 1)
    assert guarded.last_error == "Mute"


def test_a_policy_cannot_spoil_what_the_fallback_and_the_checks_see():
    class Vandal:
        def notify(self, feedback):
            feedback.action_mask[:] = True

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            observation[:] = 0.0
            return 3, None

    config = GuardConfig(checks=(ContractConfig(), CostMarginConfig(field="ttft_s", absolute_margin=0.1)))
    seen = observe(ttft_s=[1.0, 2.0, 3.0, 4.0])
    untouched = seen.copy()
    guarded = guarded_by(config, Vandal())
    assert drive(guarded, 1, observation=seen, mask=np.ones(4, dtype=bool)) == [0]
    assert guarded.interventions == {"ttft-s-over-margin": 1}
    mask = np.array([True, True, True, False])
    guarded = guarded_by(CONTRACT, Vandal())
    assert drive(guarded, 1, observation=seen, mask=mask) == [0]
    assert guarded.interventions == {"masked-action": 1}
    assert np.array_equal(seen, untouched)


def test_a_notify_that_raises_is_the_policys_fault():
    class Deaf(Fixed):
        def notify(self, feedback):
            raise OSError("gone")

    policy = Deaf(1)
    guarded = guarded_by(CONTRACT, policy)
    assert drive(guarded, 1) == [0]
    assert guarded.interventions == {"policy-raised": 1}
    assert guarded.last_error == "OSError: gone"
    assert policy.calls == 0


@pytest.mark.parametrize(
    ("policy_s", "fallback_s", "expected_s"),
    [(0.0004, 0.0, 0.0004), (0.0004, 0.0001, 0.0005), (0.5, 0.0001, 0.0011), (math.nan, 0.0, 0.001)],
)
def test_executed_latency_is_the_fallbacks_plus_at_most_the_budget(policy_s, fallback_s, expected_s):
    guarded = guarded_by(CONTRACT, Fixed(1, policy_s), Fixed(0, fallback_s))
    drive(guarded, 1)
    assert guarded.latency_s == pytest.approx(expected_s)
    drive(guarded, 10)
    if guarded.state == "open":
        assert guarded.latency_s == fallback_s


def test_action_check_alone_vetoes_each_decision_by_itself():
    config = GuardConfig(checks=(CostMarginConfig(field="ttft_s", absolute_margin=0.1),), supervisor=PATIENT)
    guarded = guarded_by(config, Fixed(1))
    dear, cheap = observe(ttft_s=[0.1, 0.5, 0, 0]), observe(ttft_s=[0.1, 0.15, 0, 0])
    assert drive(guarded, 2, observation=dear) == [0, 0]
    assert drive(guarded, 2, observation=cheap) == [0, 0, 1, 1]
    assert guarded.state == "closed"
    assert guarded.availability == 0.5
    assert guarded.interventions == {"ttft-s-over-margin": 2}


def test_action_check_alone_never_executes_what_is_no_action():
    config = GuardConfig(checks=(CostMarginConfig(field="ttft_s", absolute_margin=0.1),))
    for policy in (Fixed(math.nan), Raising()):
        guarded = guarded_by(config, policy)
        assert drive(guarded, 50) == [0] * 50


def test_no_check_at_all_still_executes_actions_only():
    guarded = guarded_by(GuardConfig(checks=()), Fixed(7))
    assert drive(guarded, 3) == [0] * 3
    assert guarded.interventions == {"unusable-proposal": 3}
    assert set(drive(guarded_by(GuardConfig(checks=()), Fixed(1)), 3)) == {1}


def test_a_policy_that_is_vetoed_too_often_loses_the_rule():
    config = GuardConfig(checks=(CostMarginConfig(field="ttft_s", absolute_margin=0.1),))
    guarded = guarded_by(config, Fixed(1))
    drive(guarded, 200, observation=observe(ttft_s=[0.1, 0.5, 0, 0]))
    assert guarded.interventions == {"ttft-s-over-margin": 151, "open": 49}  # 30 % of 500 proposals, and one more
    assert guarded.guard.supervisor.transitions[-1].cause == "vetoes-over-limit"


def test_breaker_alone_opens_probes_and_closes():
    policy = Fixed(1)
    guarded = guarded_by(GuardConfig(checks=(BREAKER,)), policy)
    actions = drive(guarded, 1_000, lag=10, violates={1})
    causes = [change.cause for change in guarded.guard.supervisor.transitions]
    assert causes[:3] == ["violations-over-reference", "dwell-over", "violations-over-reference"]
    # Open at the 20th outcome (of decision 19, known at 29); 30 s of fallback; probes until 20 of theirs are in; 60 s.
    assert [sum(actions[a:b]) for a, b in ((0, 29), (29, 329), (329, 400), (400, 950))] == [29, 0, 29, 0]
    assert "policy-raised" not in guarded.interventions
    policy.answer = 2
    actions = drive(guarded, 2_000, lag=10, violates={1})
    assert guarded.state == "closed"
    assert set(actions[-500:]) == {2}


def test_the_fallback_rules_while_the_outcomes_of_the_probes_are_awaited():
    guarded = guarded_by(GuardConfig(checks=(BREAKER,)), Fixed(1))
    actions = drive(guarded, 1_000, lag=60, violates={1})
    probing = guarded.recorder.column("state") == 2
    # 32 probes from decision 379 on, and after the last of them the fallback until 20 outcomes are in at 458.
    assert np.flatnonzero(probing)[[0, -1]].tolist() == [379, 457]
    assert actions[379:458] == [1] * 32 + [0] * 47
    assert guarded.interventions["awaiting-probe-outcomes"] >= 47


def test_breaker_alone_lets_a_good_policy_rule():
    guarded = guarded_by(GuardConfig(checks=(BREAKER,)), Fixed(1))
    drive(guarded, 2_000, lag=10, violates={3})
    assert guarded.availability == 1.0


def test_breaker_does_not_trip_on_the_fallbacks_own_violations_while_it_rules():
    guarded = guarded_by(GuardConfig(checks=(ContractConfig(), BREAKER)), Fixed(math.nan))
    drive(guarded, 3_000, lag=10, violates={0})
    causes = {change.cause for change in guarded.guard.supervisor.transitions}
    assert causes == {"not-finite", "dwell-over"}


def test_states_of_both_policies_are_kept_apart_and_lost_on_an_exception():
    class Counting:
        def __init__(self, raises_at=None):
            self.raises_at = raises_at

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            count = (state or 0) + 1
            if count == self.raises_at:
                raise RuntimeError
            return 0, count

    guarded = guarded_by(CONTRACT, Counting(raises_at=3), Counting())
    state, seen = None, []
    for i in range(5):
        guarded.notify(Feedback(0.1 * i, i))
        _, state = guarded.predict(observe(), state)
        seen.append(tuple(state))
    assert seen == [(1, 1), (2, 2), (None, 3), (1, 4), (2, 5)]


def test_misuse_is_said_in_one_line():
    guarded = guarded_by(CONTRACT, Fixed(1))
    with pytest.raises(HandrailError, match="call notify"):
        guarded.predict(observe())
    with pytest.raises(HandrailError, match="expects decision 0, got 5"):
        guarded.notify(Feedback(0.0, 5))
    with pytest.raises(HandrailError, match="not yet made"):
        guarded.notify(Feedback(0.0, 0, None, (OutcomeSignal(0, False, 0.1),)))
    drive(guarded, 3)
    with pytest.raises(HandrailError, match="new guard"):
        guarded.notify(Feedback(0.0, 0))


def test_the_fallback_is_asked_at_every_decision():
    fallback = Fixed(0)
    drive(guarded_by(CONTRACT, Raising(), fallback), 100)
    assert fallback.calls == 100


def test_checks_are_run_cheapest_first():
    config = GuardConfig.for_routing()
    reordered = GuardConfig(checks=config.checks[::-1])
    for guard in (build_guard(config, LAYOUT), build_guard(reordered, LAYOUT)):
        assert guard.proposal_checks[0].name == "contract"
        costs = [check.cost_us for check in guard.proposal_checks]
        assert costs == sorted(costs)
        assert [check.name for check in guard.outcome_checks] == ["breaker"]


def test_two_checks_of_one_name_are_refused():
    with pytest.raises(HandrailError, match="distinct"):
        GuardedPolicy(Fixed(0), Fixed(0), build_guard(GuardConfig(checks=(BREAKER, BREAKER)), LAYOUT), LAYOUT)
