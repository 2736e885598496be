"""The staged roll-out: by hand, and by Hypothesis against what must hold of every run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from guard_stand import Fixed, drive, guarded_by, observe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handrail.policies.guards import (
    BreakerConfig,
    ContractConfig,
    CostMarginConfig,
    GuardConfig,
    GuardedPolicy,
    Rollout,
    RolloutConfig,
    Stage,
    SupervisorConfig,
)
from handrail.policies.guards.rollout import block_taken
from handrail.policies.interface import Feedback, OutcomeSignal

SHADOW, CANARY, FULL = Stage.SHADOW, Stage.CANARY, Stage.FULL
BREAKER = BreakerConfig(
    load_field="rate_60s", capacity_per_s=1.0, loads=(0.0,), shares=(0.05,), min_outcomes=4, window_outcomes=20
)
MARGIN = CostMarginConfig(field="ttft_s", absolute_margin=0.1)


def staged(rollout: RolloutConfig, *checks, **supervisor) -> GuardConfig:
    quick = {
        "min_dwell_s": 5.0,
        "max_dwell_s": 20.0,
        "probe_decisions": 4,
        "probe_outcomes": 4,
        "probe_timeout_s": 20.0,
    }
    config = SupervisorConfig(**(quick | supervisor), rollout=rollout)
    return GuardConfig(checks=checks or (ContractConfig(), BREAKER), supervisor=config)


def shares(guarded: GuardedPolicy, stage: Stage) -> float:
    """Share of the decisions of a stage that were the policy's."""
    of_stage = guarded.recorder.column("stage") == stage
    return float((guarded.recorder.column("who")[of_stage] == 1).mean())


def test_without_a_rollout_the_policy_rules_from_the_start():
    guarded = guarded_by(GuardConfig(checks=(ContractConfig(),)), Fixed(1))
    assert drive(guarded, 3) == [1, 1, 1]
    assert guarded.guard.supervisor.stage is FULL
    assert guarded.guard.supervisor.rollout is None


def test_a_good_policy_goes_from_shadow_over_canary_to_full():
    rollout = RolloutConfig(
        block_s=2.0, min_stage_s=3.0, shadow_decisions=50, canary_decisions=50, canary_outcomes=40, canary_share=0.5
    )
    policy = Fixed(1)
    guarded = guarded_by(staged(rollout), policy)
    actions = drive(guarded, 1_000, lag=5)
    changes = guarded.guard.supervisor.rollout.changes
    assert [(c.before, c.after, c.cause) for c in changes] == [
        (SHADOW, CANARY, "promoted"),
        (CANARY, FULL, "promoted"),
    ]
    assert set(actions[: changes[0].decision]) == {0}
    assert policy.calls > actions.count(1)
    assert shares(guarded, CANARY) == pytest.approx(0.5, abs=0.15)
    assert set(actions[changes[1].decision :]) == {1}
    shadow = guarded.guard.supervisor.rollout
    assert shadow.shadow_proposals == changes[0].decision
    assert shadow.shadow_agreed == shadow.shadow_objections == 0
    assert set(guarded.interventions) == {"shadow", "control-block"}


def test_in_the_shadow_a_policy_is_judged_and_one_that_is_vetoed_is_not_promoted():
    rollout = RolloutConfig(min_stage_s=0.0, shadow_decisions=20)
    guarded = guarded_by(staged(rollout, ContractConfig(), MARGIN), Fixed(1))
    drive(guarded, 100, observation=observe(ttft_s=[0.1, 0.5, 0, 0]))
    assert guarded.guard.supervisor.stage is SHADOW
    assert guarded.guard.supervisor.rollout.shadow_objections == 100
    said = guarded.recorder.to_table()["said"].to_pylist()
    assert all("ttft-s-over-margin" in text for text in said)
    assert guarded.availability == 0.0


def test_agreement_with_the_fallback_is_counted_in_the_shadow():
    guarded = guarded_by(staged(RolloutConfig(shadow_decisions=1_000)), Fixed(0))
    drive(guarded, 30)
    assert guarded.guard.supervisor.rollout.shadow_agreed == 30


def test_nobody_waits_for_a_policy_in_the_shadow():
    guarded = guarded_by(staged(RolloutConfig()), Fixed(1, latency_s=0.0005), Fixed(0, latency_s=0.0001))
    drive(guarded, 1)
    assert guarded.latency_s == 0.0001


def test_a_policy_with_more_violations_than_the_control_stays_a_canary():
    rollout = RolloutConfig(
        start="canary", block_s=2.0, min_stage_s=0.0, canary_decisions=40, canary_outcomes=40, canary_share=0.5
    )
    lax = BreakerConfig(load_field="rate_60s", capacity_per_s=1.0, loads=(0.0,), shares=(0.99,))
    config = staged(rollout, ContractConfig(), lax, probe_decisions=32, probe_outcomes=24)
    guarded = guarded_by(config, Fixed(1))
    drive(guarded, 2_000, lag=5, violates={1})
    assert guarded.guard.supervisor.stage is CANARY
    guarded = guarded_by(config, Fixed(1))
    drive(guarded, 2_000, lag=5, violates={0, 1})  # no more than the control has
    assert guarded.guard.supervisor.stage is FULL


def test_a_trip_sends_it_back_and_the_stages_are_gone_through_again():
    rollout = RolloutConfig(
        block_s=2.0, min_stage_s=3.0, shadow_decisions=50, canary_decisions=50, canary_outcomes=40, canary_share=0.5
    )
    policy = Fixed(1)
    guarded = guarded_by(staged(rollout), policy)
    drive(guarded, 1_000, lag=5)
    assert guarded.guard.supervisor.stage is FULL
    policy.answer = math.nan
    drive(guarded, 200, lag=5)
    assert guarded.guard.supervisor.stage is SHADOW
    assert guarded.guard.supervisor.rollout.changes[-1].cause == "not-finite"
    policy.answer = 1
    drive(guarded, 3_000, lag=5)
    assert guarded.guard.supervisor.stage is FULL
    # From the shadow there is nothing to probe: an opening that is over closes at once.
    assert "half-open" not in {t.after.label for t in guarded.guard.supervisor.transitions}


def test_demoted_to_canary_it_probes_in_its_own_blocks():
    rollout = RolloutConfig(start="full", demote_to="canary", block_s=2.0, canary_share=0.5, control_share=0.25)
    policy = Fixed(math.nan)
    guarded = guarded_by(staged(rollout), policy)
    drive(guarded, 100, lag=5)
    policy.answer = 1
    drive(guarded, 2_000, lag=5)
    changes = guarded.guard.supervisor.rollout.changes
    assert (changes[0].before, changes[0].after) == (FULL, CANARY)
    assert "half-open" in {t.after.label for t in guarded.guard.supervisor.transitions}
    asked = guarded.recorder.column("asked").astype(bool)
    now_s, stage = guarded.recorder.column("now_s"), guarded.recorder.column("stage")
    for at in np.flatnonzero(asked & (stage == CANARY)):
        assert block_taken(now_s[at], 2.0, 0.5)


def test_in_full_a_share_of_blocks_stays_the_control():
    guarded = guarded_by(staged(RolloutConfig(start="full", control_share=0.1, block_s=2.0)), Fixed(1))
    drive(guarded, 2_000)
    assert shares(guarded, FULL) == pytest.approx(0.9, abs=0.02)
    assert guarded.interventions.keys() == {"control-block"}


@pytest.mark.parametrize(
    "bad", [{"canary_share": 0.0}, {"canary_share": 1.0}, {"control_share": 1.0}, {"start": "half"}, {"block_s": 0}]
)
def test_config_refuses(bad):
    with pytest.raises(ValidationError):
        RolloutConfig(**bad)


@given(st.floats(0, 1), st.integers(0, 10_000), st.integers(1, 300))
def test_of_any_blocks_in_a_row_a_share_is_taken(share, first, n):
    taken = sum(block_taken(block + 0.5, 1.0, share) for block in range(first, first + n))
    assert n * share - 1.001 < taken < n * share + 1.001


STEPS = st.lists(
    st.tuples(
        st.floats(0, 3, allow_nan=False),
        st.sampled_from([1] * 30 + [0, math.nan]),
        st.sampled_from([False] * 12 + [True]),
    ),
    min_size=1,
    max_size=300,
)
ROLLOUTS = st.builds(
    RolloutConfig,
    start=st.sampled_from(["shadow", "canary", "full"]),
    demote_to=st.sampled_from(["shadow", "canary", "full"]),
    block_s=st.floats(0.5, 10),
    canary_share=st.floats(0.05, 0.95),
    control_share=st.floats(0, 0.5),
    min_stage_s=st.floats(0, 20),
    shadow_decisions=st.integers(1, 30),
    canary_decisions=st.integers(1, 30),
    canary_outcomes=st.integers(0, 10),
)


class Scripted:
    """Proposes what it is told to."""

    name = "scripted"

    def __init__(self) -> None:
        self.answer: float = 1

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self.answer, state


def run(rollout: RolloutConfig, steps) -> GuardedPolicy:
    policy = Scripted()
    guarded = guarded_by(staged(rollout, faults_in_a_row=1), policy)
    now_s = 0.0
    for i, (gap_s, answer, violated) in enumerate(steps):
        now_s += gap_s
        policy.answer = answer
        outcomes = (OutcomeSignal(i - 1, violated, 1.0),) if i else ()
        guarded.notify(Feedback(now_s, i, None, outcomes))
        guarded.predict(observe())
    return guarded


@settings(max_examples=150, deadline=None)
@given(ROLLOUTS, STEPS)
def test_what_holds_of_every_run(rollout, steps):
    guarded = run(rollout, steps)
    recorder, supervisor = guarded.recorder, guarded.guard.supervisor
    now_s, stage, state = recorder.column("now_s"), recorder.column("stage"), recorder.column("state")
    asked, who, executed = recorder.column("asked").astype(bool), recorder.column("who"), recorder.column("executed")
    # In the shadow nothing of the policy's is executed.
    assert (who[stage == SHADOW] == 0).all()
    assert (executed[stage == SHADOW] == 0).all()
    # Elsewhere the policy is asked in its own blocks alone, and never while open.
    for at in np.flatnonzero(asked):
        assert state[at] != 1
        if stage[at] == CANARY:
            assert block_taken(now_s[at], rollout.block_s, rollout.canary_share)
        if stage[at] == FULL:
            assert not block_taken(now_s[at], rollout.block_s, rollout.control_share)
    changes = supervisor.rollout.changes
    entered_s = now_s[0]
    for change in changes:
        assert change.before is not change.after
        if change.cause == "promoted":
            assert change.after == change.before + 1
            assert change.now_s - entered_s >= rollout.min_stage_s  # no stage is shorter than it may be
        else:
            assert change.after is Stage[rollout.demote_to.upper()]
            assert change.after < change.before
        entered_s = change.now_s
    # The log and the changes tell the same.
    expected = Stage[rollout.start.upper()]
    following = iter([*changes, None])
    change = next(following)
    for at in range(len(now_s)):
        while change is not None and (change.decision < at or (change.decision == at and change.cause == "promoted")):
            expected, change = change.after, next(following)
        while change is not None and change.decision == at and stage[at] != expected:
            expected, change = change.after, next(following)
        assert stage[at] == expected


@settings(max_examples=30, deadline=None)
@given(ROLLOUTS, STEPS)
def test_same_inputs_same_log(rollout, steps):
    logs = [run(rollout, steps) for _ in range(2)]
    assert logs[0].recorder.log_hash() == logs[1].recorder.log_hash()
    assert logs[0].guard.supervisor.rollout.changes == logs[1].guard.supervisor.rollout.changes


def test_outcomes_of_an_earlier_count_do_not_count():
    rollout = Rollout(
        RolloutConfig(start="canary", min_stage_s=0.0, canary_decisions=1, canary_outcomes=1), outcomes_are_judged=True
    )
    rollout.resume(10.0, 50)
    rollout.note_judged(objected=False, agreed=False)
    for decision in (48, 49):
        rollout.note_outcome(decision, ruled=decision == 48, violated=False)
    rollout.review(11.0, 60)
    assert rollout.stage is CANARY
    for decision in (50, 51):
        rollout.note_outcome(decision, ruled=decision == 50, violated=False)
    rollout.review(12.0, 61)
    assert rollout.stage is FULL
