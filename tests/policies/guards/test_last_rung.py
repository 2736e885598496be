"""Checks of sensors and the last rung, what the context gets of a policy, charged costs, and the bound simulator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from guard_stand import LAYOUT, Fixed, drive, ended, guarded_by, observe

from handrail.policies.guards import (
    BreakerConfig,
    CheckContext,
    ContractConfig,
    Guard,
    GuardConfig,
    GuardedPolicy,
    State,
    SupervisorConfig,
    Verdict,
)
from handrail.policies.guards.checks import ContractCheck, OutcomeBreaker
from handrail.policies.interface import Feedback


class Stand:
    """A check that says what it is told to, and remembers what it saw."""

    fault = False

    def __init__(self, name: str, stage: str, kind: str = "accept", cost_us: float = 1.0) -> None:
        self.name, self.stage, self.kind, self.cost_us = name, stage, kind, cost_us
        self.seen: list[CheckContext] = []

    def judge(self, context: CheckContext) -> Verdict:
        self.seen.append(context)
        return Verdict(self.kind, self.name, "ok" if self.kind == "accept" else f"{self.name}-says-no")


def guarded(policy, *checks, last_rung=None, charge="none", fallback=None) -> GuardedPolicy:
    guard = Guard([ContractCheck(ContractConfig(), LAYOUT), *checks], SupervisorConfig(), 1e-3, charge)
    return GuardedPolicy(policy, Fixed(0) if fallback is None else fallback, guard, LAYOUT, last_rung, "cafe")


def test_a_veto_of_a_sensor_check_hands_the_decision_to_the_last_rung():
    sensor, policy, last_rung = Stand("sensor", "sensors", "veto"), Fixed(1), Fixed(2)
    it = guarded(policy, sensor, last_rung=last_rung)
    assert drive(it, 5) == [2] * 5
    assert policy.calls == 0
    assert it.state == "closed"
    assert it.availability == 0.0
    assert it.interventions == {"sensor-says-no": 5}
    assert set(it.recorder.to_table()["who"].to_pylist()) == {"last-rung"}
    sensor.kind = "accept"
    assert drive(it, 3)[-3:] == [1, 1, 1]


def test_without_a_last_rung_the_fallback_decides():
    it = guarded(Fixed(1), Stand("sensor", "sensors", "veto"))
    assert drive(it, 3) == [0] * 3
    assert set(it.recorder.to_table()["who"].to_pylist()) == {"fallback"}


def test_a_trip_of_a_sensor_check_also_opens_and_the_sensors_are_judged_whoever_rules():
    sensor, last_rung = Stand("sensor", "sensors", "trip"), Fixed(2)
    it = guarded(Fixed(1), sensor, last_rung=last_rung)
    assert drive(it, 3) == [2] * 3
    assert it.state == "open"
    sensor.kind = "accept"
    assert drive(it, 3)[-3:] == [0] * 3  # open, and the telemetry is believed again
    sensor.kind = "veto"
    assert drive(it, 3)[-3:] == [2] * 3
    assert len(sensor.seen) == 9


def test_all_checks_of_sensors_and_outcomes_see_every_decision_and_the_log_has_what_each_said():
    checks = [Stand(f"s{i}", "sensors", "veto") for i in range(2)] + [
        Stand(f"o{i}", "outcomes", "veto") for i in range(2)
    ]
    it = guarded(Fixed(1), *checks, last_rung=Fixed(2))
    drive(it, 4)
    assert [len(check.seen) for check in checks] == [4] * 4
    row = it.recorder.to_table().to_pylist()[0]
    assert (row["check"], row["reason"]) == ("s0", "s0-says-no")
    assert [one[:2] for one in json.loads(row["said"])] == [[check.name, "veto"] for check in checks]


def test_an_outcome_that_trips_while_the_sensors_are_doubted_still_opens():
    it = guarded(Fixed(1), Stand("sensor", "sensors", "veto"), Stand("outcome", "outcomes", "trip"), last_rung=Fixed(2))
    assert drive(it, 1) == [2]
    assert it.guard.supervisor.transitions[0].cause == "outcome-says-no"


def test_the_last_rung_hears_of_every_decision():
    class Listening(Fixed):
        heard = 0

        def notify(self, feedback: Feedback) -> None:
            self.heard += 1

    last_rung = Listening(2)
    drive(guarded(Fixed(1), last_rung=last_rung), 7)
    assert last_rung.heard == 7
    assert last_rung.calls == 0


def test_votes_and_values_of_a_policy_are_in_the_context():
    class Ensemble(Fixed):
        votes = (1, 1, 2)
        values = np.array([0.5, 0.25])

    check = Stand("proposal", "proposal")
    drive(guarded(Ensemble(1), check), 1)
    assert check.seen[0].votes.tolist() == [1, 1, 2]
    assert check.seen[0].votes.dtype == np.int64
    assert check.seen[0].values.tolist() == [0.5, 0.25]
    check = Stand("proposal", "proposal")
    drive(guarded(Fixed(1), check), 1)
    assert check.seen[0].votes is None
    assert check.seen[0].values is None


def test_votes_that_are_no_numbers_are_the_policys_fault():
    class Odd(Fixed):
        votes = ("a", "b")

    it = guarded(Odd(1))
    assert drive(it, 1) == [0]
    assert it.interventions == {"policy-raised": 1}


@pytest.mark.parametrize(
    ("kinds", "expected_us"),
    [
        (("accept", "accept"), 10 + 20 + 0.5 + 100 + 1000),
        (("accept", "veto"), 10 + 20 + 0.5 + 100),
        (("veto", "accept"), 30),
    ],
)
def test_the_nominal_cost_of_the_checks_that_ran_is_added_to_the_latency(kinds, expected_us):
    def checks():
        yield Stand("sensor", "sensors", kinds[0], 10.0)
        yield Stand("outcome", "outcomes", "accept", 20.0)
        yield Stand("cheap", "proposal", kinds[1], 100.0)
        yield Stand("dear", "proposal", "accept", 1000.0)

    it = guarded(Fixed(1, 0.0002), *checks(), charge="nominal", fallback=Fixed(0, 0.0001))
    drive(it, 1)
    asked_s = 0.0 if kinds[0] == "veto" else 0.0002
    assert it.latency_s == pytest.approx(0.0001 + asked_s + expected_us * 1e-6)
    free = guarded(Fixed(1, 0.0002), *checks(), fallback=Fixed(0, 0.0001))
    drive(free, 1)
    assert free.latency_s == pytest.approx(0.0001 + asked_s)


def test_the_nominal_cost_is_charged_while_the_fallback_rules_too():
    it = guarded(Fixed(1), Stand("outcome", "outcomes", "trip", 20.0), charge="nominal")
    drive(it, 3)
    assert it.latency_s == pytest.approx(20e-6)


def test_binding_without_a_check_that_forecasts_forks_nothing():
    it = guarded(Fixed(1))
    it.bind(object(), object())
    assert drive(it, 1) == [1]


def test_the_table_says_whose_log_it_is():
    it = guarded(Fixed(1), Stand("outcome", "outcomes", "trip"), last_rung=Fixed(2))
    drive(it, 2)
    about = it.to_table({"domain": "llm"}).schema.metadata
    assert about[b"policy_hash"] == b"cafe"
    assert (about[b"policy"], about[b"last_rung"], about[b"domain"]) == (b"Fixed", b"Fixed", b"llm")
    assert json.loads(about[b"transitions"]) == [[0.0, 0, "closed", "open", "outcome-says-no", 30.0]]
    assert json.loads(about[b"stages"]) == []


def test_a_breaker_takes_no_outcome_of_the_shadow_for_the_policys():
    config = GuardConfig(
        checks=(BreakerConfig(load_field="rate_60s", capacity_per_s=1.0, loads=(0.0,), shares=(0.0,)),),
        supervisor=SupervisorConfig(rollout={"shadow_decisions": 10_000}),
    )
    it = guarded_by(config, Fixed(1))
    drive(it, 300, lag=3, violates={0})
    assert it.guard.supervisor.state is State.CLOSED
    # The same outcomes under the policy's own rule trip it.
    breaker = OutcomeBreaker(config.checks[0], LAYOUT)
    context = CheckContext(observe(), LAYOUT, 0.0, 0, None, 0, [])
    breaker.judge(context)
    context.decision, context.outcomes = 1, [ended(0, True)] * 200
    assert breaker.judge(context).kind == "trip"
