"""Forecasts by forks, and the twin check that judges by them."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from forkable_queue import QueueObserver, Shortest, queue
from guard_stand import LAYOUT, Fixed, context

from handrail.experiments.replay import run_policy
from handrail.policies.guards import (
    ContractConfig,
    Forecaster,
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    TwinConfig,
    build_guard,
    play,
)
from handrail.policies.guards.checks import TwinCheck
from handrail.policies.interface import Feedback, OutcomeSignal

PATIENT = SupervisorConfig(veto_window_decisions=10**6, veto_share_limit=1.0)


def after(decisions: int, seed: int = 0, latency_factor: float = 1.0, speeds=(1.0, 1.0, 1.0, 1.0)):
    """A queue under the shortest queue's rule with decision number ``decisions`` open, its forecaster and observer."""
    simulator = queue(seed, speeds=speeds)
    observer = QueueObserver(simulator)
    forecaster = Forecaster(simulator, observer, Shortest(), seed=3, latency_factor=latency_factor)
    for _ in range(decisions):
        point = simulator.advance()
        forecaster.note(point)
        simulator.apply(Shortest().predict(observer(point))[0])
    forecaster.note(simulator.advance())
    return simulator, observer, forecaster


def test_a_play_charges_what_the_same_run_charges():
    simulator, observer, _ = after(20)
    twin = simulator.fork()
    charged = play(twin, observer.fork(twin), Shortest(), 1, simulator.now_s + 5.0)
    before, until_s = simulator.charged_s(), simulator.now_s + 5.0
    simulator.apply(1)
    while (point := simulator.advance_until(until_s)) is not None:
        simulator.apply(Shortest().predict(observer(point))[0])
    assert charged == simulator.charged_s() - before
    assert simulator.now_s == until_s


class Hearing(Shortest):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[Feedback] = []

    def notify(self, feedback: Feedback) -> None:
        self.heard.append(feedback)


def test_in_a_play_a_policy_hears_of_each_decision_as_in_a_replay():
    simulator, observer, _ = after(20)
    policy = Hearing()
    played = simulator.fork()
    play(played, observer.fork(played), policy, 1, simulator.now_s + 5.0)
    arrivals = [s for s in simulator.arrival_s[21:] if s <= simulator.now_s + 5.0]
    assert [told.now_s for told in policy.heard] == arrivals
    assert [told.decision for told in policy.heard] == list(range(21, 21 + len(arrivals)))
    assert all(told.action_mask.tolist() == [True] * 4 and told.outcomes == () for told in policy.heard)


def test_with_a_judge_it_hears_of_outcomes_too():
    simulator, observer, _ = after(20)
    policy = Hearing()
    played = simulator.fork()
    point = played.point
    played.point = lambda: replace(point(), outcomes=(point().decision - 1,))
    play(played, observer.fork(played), policy, 1, 1e9, judge=lambda number: OutcomeSignal(number, True, 0.5))
    assert [told.outcomes for told in policy.heard] == [(OutcomeSignal(n, True, 0.5),) for n in range(20, 59)]


def test_a_guarded_policy_goes_on_in_a_play():
    config = GuardConfig(checks=(ContractConfig(),), supervisor=PATIENT)
    guarded = GuardedPolicy(Fixed(2), Shortest(), build_guard(config, LAYOUT), LAYOUT)
    simulator = queue()
    observer, state = QueueObserver(simulator), None
    for number in range(20):
        observation = observer(simulator.advance())
        guarded.notify(Feedback(simulator.now_s, number))
        action, state = guarded.predict(observation, state)
        if number < 19:
            simulator.apply(action)
    played, policy = simulator.fork(), copy.deepcopy(guarded)
    play(played, observer.fork(played), policy, action, 1e9, state=state)
    assert len(policy.recorder) == 60
    assert {job[2] for job in played.jobs[20:]} == {2}


def test_a_forecast_leaves_the_run_as_it_was_and_repeats():
    simulator, _, forecaster = after(20)
    jobs, now_s = list(simulator.jobs), simulator.now_s
    costs = forecaster.costs((0, 1, 2), 5.0, 3)
    assert costs.shape == (3, 3)
    assert (simulator.jobs, simulator.now_s, simulator.open) == (jobs, now_s, True)
    assert np.array_equal(after(20)[2].costs((0, 1, 2), 5.0, 3), costs)


def test_futures_do_not_depend_on_what_was_asked_before():
    _, _, forecaster = after(20)
    forecaster.costs((3,), 2.0, 1)
    once = forecaster.costs((0, 1), 5.0, 4)
    assert np.array_equal(after(20)[2].costs((1, 0), 5.0, 4)[::-1], once)
    assert np.array_equal(after(20)[2].costs((0, 1), 5.0, 2), once[:, :2])
    assert len(set(once[0].tolist())) > 1  # futures differ


def test_equal_queues_cost_the_same_in_a_paired_future():
    simulator, _, forecaster = after(0)
    costs = forecaster.costs((0, 1), 5.0, 3)  # an empty system: the queues are alike
    assert np.array_equal(costs[0], costs[1])
    assert simulator.forks == 3  # one redrawn fork a future, for both actions


def test_a_forecast_knows_nothing_that_is_hidden():
    _, _, forecaster = after(20)
    other, _, same = after(20)
    ends = other.ends_s()
    unknown = [job[1] for job, end in zip(other.jobs, ends, strict=True) if end > other.now_s]
    other.size_s = other.size_s.copy()
    other.size_s[unknown] *= 7.0  # in flight, unrevealed
    other.size_s[other.next :] = 0.1
    other.arrival_s = np.concatenate((other.arrival_s[: other.next + 1], other.arrival_s[other.next + 1 :] + 9.0))
    assert unknown
    assert np.array_equal(forecaster.costs((0, 1), 5.0, 4), same.costs((0, 1), 5.0, 4))


def test_the_latency_factor_slows_the_twin():
    fast, slow = (after(20, latency_factor=factor)[2].costs((0, 1), 5.0, 4).mean() for factor in (1.0, 1.2))
    assert slow > fast


class Priced:
    """Forecasts with given costs, by action."""

    def __init__(self, costs: dict[int, list[float]]) -> None:
        self._costs, self.asked = costs, 0

    def become(self, costs: dict[int, list[float]]) -> None:
        self._costs = costs

    def costs(self, actions, horizon_s, futures):
        self.asked += 1
        return np.array([self._costs[action] for action in actions])


def judged(config: TwinConfig, proposed: list[float], fallback: list[float]):
    check = TwinCheck(config, LAYOUT)
    return check.judge(context(action=1, forecast=Priced({1: proposed, 0: fallback})))


@pytest.mark.parametrize(
    ("proposed", "fallback", "z", "kind"),
    [
        ([10.0, 10.0], [10.0, 10.0], 0.0, "accept"),
        ([10.9, 10.9], [10.0, 10.0], 0.0, "accept"),  # 0.9 beyond: within 0.5 + 5 % of 10
        ([11.1, 11.1], [10.0, 10.0], 0.0, "veto"),
        ([10.1, 12.1], [10.0, 10.0], 0.0, "veto"),
        ([10.1, 12.1], [10.0, 10.0], 1.0, "accept"),  # the futures do not agree: standard error 1
        ([11.1, 111.1], [10.0, 110.0], 5.0, "accept"),  # paired: the same difference, and 5 % of 60
        ([14.1, 114.1], [10.0, 110.0], 5.0, "veto"),
        ([float("nan"), 1.0], [10.0, 10.0], 0.0, "veto"),
        ([float("inf"), 1.0], [10.0, 10.0], 0.0, "veto"),
    ],
)
def test_the_twin_vetoes_beyond_margin_and_error(proposed, fallback, z, kind):
    config = TwinConfig(futures=2, absolute_margin=0.5, relative_margin=0.05, z=z)
    assert judged(config, proposed, fallback).kind == kind


def test_a_broken_forecast_has_a_reason_of_its_own():
    config = TwinConfig(futures=1)
    assert judged(config, [1e9], [1.0]).reason == "twin-cost-over-margin"
    assert judged(config, [float("nan")], [1.0]).reason == "twin-cost-not-finite"
    assert TwinCheck(config, LAYOUT).judge(context(action=1)).reason == "forecast-missing"


def test_the_twin_asks_only_where_the_two_differ_and_not_too_often():
    forecast = Priced({1: [9.0], 0: [1.0]})
    check = TwinCheck(TwinConfig(futures=1, every=3, min_gap_s=10.0), LAYOUT)
    said = [
        check.judge(context(action=a, now_s=float(i), forecast=forecast)).reason for i, a in enumerate([0, 1, 1, 1, 1])
    ]
    # Those that are left out get the last verdict: the third, the fourth; the fifth is due and comes too soon.
    assert said == ["ok", "twin-cost-over-margin", *["twin-veto-stands"] * 3]
    assert forecast.asked == 1
    forecast.become({1: [1.0], 0: [1.0]})
    later = [check.judge(context(action=1, now_s=20.0 + i, forecast=forecast)).kind for i in range(4)]
    assert later == ["veto", "veto", "accept", "accept"]
    assert forecast.asked == 2


def run(policy, config: GuardConfig | None, speeds) -> tuple[float, GuardedPolicy | None]:
    """Cost of a run of the queue, and the guarded policy."""
    simulator = queue(5, 80, speeds)
    observer = QueueObserver(simulator)
    decider = policy if config is None else GuardedPolicy(policy, Shortest(), build_guard(config, LAYOUT), LAYOUT)
    if config is not None:
        decider.bind(simulator, observer)
    simulator.results = lambda: SimpleNamespace()
    assert run_policy(simulator, observer, decider, lambda o: OutcomeSignal(0, False, 0.0)).failure is None
    ends = simulator.ends_s()
    return sum(end - job[0] for end, job in zip(ends, simulator.jobs, strict=True)), None if config is None else decider


def test_behind_the_twin_a_bad_policy_does_little_harm_and_a_good_one_rules():
    config = GuardConfig(
        checks=(ContractConfig(), TwinConfig(horizon_s=10.0, futures=3, relative_margin=0.0, z=0.0)), supervisor=PATIENT
    )
    speeds = (2.0, 1.0, 1.0, 1.0)
    fallback, _ = run(Shortest(), None, speeds)
    worst, _ = run(Fixed(3), None, speeds)
    guarded, policy = run(Fixed(3), config, speeds)
    assert worst > 5 * fallback
    assert guarded < 1.5 * fallback
    assert policy.interventions["twin-cost-over-margin"] > 0
    _, agreeing = run(Shortest(), config, speeds)
    assert agreeing.availability == 1.0
    assert run(Fixed(3), config, speeds)[1].recorder.log_hash() == policy.recorder.log_hash()
