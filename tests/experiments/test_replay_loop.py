"""The loop on a fake simulator: what policies get, what ends a run, where time is counted."""

from __future__ import annotations

import time

import numpy as np
import pytest
from experiment_fakes import FakeSimulator, observe, small_trace

from handrail.envs.llm_serving import FleetConfig, layout_for
from handrail.envs.llm_serving.metrics import Objective
from handrail.experiments.domains.llm import judged
from handrail.experiments.replay import UpObserver, replay, run_policy
from handrail.experiments.splits import MeasuredWindow, whole_window
from handrail.policies import make_heuristic


class Scripted:
    """Returns what it was given, in turn, and keeps what it was told."""

    def __init__(self, actions, latency_s=0.0):
        self.actions = actions
        self.latency_s = latency_s
        self.seen = []
        self.states = []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.seen.append(observation.tolist())
        self.states.append(state)
        action = self.actions[len(self.seen) - 1]
        if isinstance(action, Exception):
            raise action
        return action, len(self.seen)


class Listening(Scripted):
    """Keeps its feedback too."""

    def __init__(self, actions):
        super().__init__(actions)
        self.heard = []

    def notify(self, feedback):
        self.heard.append(feedback)


def test_a_policy_gets_each_observation_and_its_own_state_and_its_actions_are_applied():
    simulator, policy = FakeSimulator(4), Scripted([0, 2, 1, 0], latency_s=0.25)
    run = run_policy(simulator, observe, policy, judged(Objective()))
    assert simulator.applied == [(0, 0.25), (2, 0.25), (1, 0.25), (0, 0.25)]
    assert policy.seen == [[0.0], [1.0], [2.0], [3.0]]
    assert policy.states == [None, 1, 2, 3]
    assert run.failure is None
    assert run.results.applied is simulator.applied
    assert run.decisions.action.tolist() == [0, 2, 1, 0]
    assert run.decisions.now_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert run.decisions.item.tolist() == [0, 1, 2, 3]
    assert run.decisions.shadow_action is None


def test_a_listening_policy_hears_of_each_outcome_once_with_its_decision():
    policy = Listening([0, 1, 0])
    run_policy(FakeSimulator(3), observe, policy, judged(Objective(slo_ttft_s=1.0)))
    assert [feedback.decision for feedback in policy.heard] == [0, 1, 2]
    assert [feedback.now_s for feedback in policy.heard] == [0.0, 1.0, 2.0]
    outcomes = [(o.decision, o.violated, o.value) for feedback in policy.heard for o in feedback.outcomes]
    assert outcomes == [(0, False, 0.5), (1, True, 2.0)]


@pytest.mark.parametrize("objective", [Objective(slo_ttft_s=0.4), Objective(slo_tbt_s=0.005)])
def test_missing_either_limit_is_a_violation(objective):
    policy = Listening([0, 0])
    run_policy(FakeSimulator(2), observe, policy, judged(objective))
    assert [o.violated for o in policy.heard[1].outcomes] == [True]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (3, "illegal action 3"),
        (-1, "illegal action -1"),
        (2, "illegal action 2"),
        (float("nan"), "not-finite"),
        (1.5, "not-an-integer"),
        (None, "wrong-type"),
        (np.array([0, 1]), "wrong-shape"),
        (RuntimeError("no idea"), "raised RuntimeError: no idea"),
    ],
)
def test_a_policy_that_raises_or_acts_illegally_ends_its_run_there(bad, reason):
    simulator = FakeSimulator(5, down=(2,))
    run = run_policy(simulator, observe, Scripted([0, 1, bad, 0, 0]), judged(Objective()))
    assert run.results is None
    assert run.failure.at_decision == 2
    assert reason in run.failure.reason
    assert len(simulator.applied) == 2


@pytest.mark.parametrize("action", [np.int64(1), np.array(1), np.array([1]), 1.0, np.float32(1.0)])
def test_a_whole_number_in_any_dress_is_an_action(action):
    simulator = FakeSimulator(1)
    run_policy(simulator, observe, Scripted([action]), judged(Objective()))
    assert simulator.applied == [(1, 0.0)]


def test_a_shadow_is_asked_and_not_obeyed():
    simulator = FakeSimulator(4)
    run = run_policy(simulator, observe, Scripted([0, 0, 0, 0]), judged(Objective()), shadow=Scripted([0, 1, 0, 2]))
    assert [action for action, _ in simulator.applied] == [0, 0, 0, 0]
    assert run.decisions.shadow_action.tolist() == [0, 1, 0, 2]
    assert run.decisions.differing_share() == 0.5


def test_time_is_counted_where_it_is_spent():
    class Slow(FakeSimulator):
        def advance(self):
            time.sleep(0.002)
            return super().advance()

    class Thinking(Scripted):
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            time.sleep(0.004)
            return super().predict(observation, state)

    def look(point):
        time.sleep(0.003)
        return observe(point)

    timing = run_policy(Slow(10), look, Thinking([0] * 10), judged(Objective())).timing
    assert timing.simulate_s >= 11 * 0.002
    assert timing.observe_s >= 10 * 0.003
    assert timing.decide_s >= 10 * 0.004
    assert timing.simulate_s < timing.observe_s + timing.decide_s


def test_a_run_of_no_requests_decides_nothing():
    run = run_policy(FakeSimulator(0), observe, Scripted([]), judged(Objective()))
    assert len(run.decisions.action) == 0
    assert run.decisions.differing_share() is None


def test_the_blind_observer_shows_which_replicas_are_up():
    layout = layout_for(3)
    observation = UpObserver(layout)(FakeSimulator(1, down=(1,)).advance())
    assert layout.replica(observation, "up").tolist() == [1.0, 0.0, 1.0]
    assert observation.sum() == 2.0


def test_round_robin_without_an_observer_is_round_robin_with_one():
    fleet = FleetConfig.parse("h100:1,a100:1")
    runs = []
    for blind in (True, False):

        def build(layout, blind=blind):
            policy = make_heuristic("round-robin", layout)
            policy.needs_observation = not blind
            return policy

        runs.append(replay(fleet, small_trace(), build, Objective(), measured=whole_window()))
    assert runs[0].decisions.action.tolist() == [0, 1] * 300
    np.testing.assert_array_equal(runs[0].results.finish_s, runs[1].results.finish_s)


def test_only_the_measured_window_counts():
    trace = small_trace()
    window = MeasuredWindow(5.0, 20.0)
    run = replay(FleetConfig.parse("h100:1"), trace, "round-robin", Objective(), measured=window)
    np.testing.assert_array_equal(run.results.measured, (trace.arrival_s >= 5.0) & (trace.arrival_s < 20.0))
    assert np.isfinite(run.results.finish_s[run.results.measured]).all()
