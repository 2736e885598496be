"""A policy's own rule, played forward for a while beside the fallback."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from forkable_queue import QueueObserver, Shortest, queue
from guard_stand import LAYOUT, Fixed
from hypothesis import given
from hypothesis import strategies as st
from test_guard_forecast import PATIENT, run

from handrail.policies.guards import (
    ContractConfig,
    Forecaster,
    GuardConfig,
    GuardedPolicy,
    TwinConfig,
    build_guard,
    play,
)
from handrail.policies.interface import Feedback
from handrail.traces.errors import HandrailError


class Counting(Shortest):
    """Rules like the shortest queue until its own count of decisions is used up, then sends all to replica 3."""

    def __init__(self, good: int) -> None:
        self.good, self.told = good, 0

    def notify(self, feedback: Feedback) -> None:
        self.told += 1

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        seen = (state or 0) + 1
        action = super().predict(observation)[0] if seen <= self.good else 3
        return action, seen


class Failing(Fixed):
    """Raises whenever it is asked."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        raise RuntimeError("no")


class Unheard(Fixed):
    """Raises when it is told of a decision."""

    def notify(self, feedback):
        raise RuntimeError("no")


def after(decisions: int, policy):
    """A queue with decision number ``decisions`` open, and a forecaster that can play ``policy``."""
    simulator = queue()
    observer = QueueObserver(simulator)
    forecaster = Forecaster(simulator, observer, Shortest(), seed=3, policy=policy, n_actions=4)
    for _ in range(decisions):
        point = simulator.advance()
        forecaster.note(point)
        simulator.apply(Shortest().predict(observer(point))[0])
    forecaster.note(simulator.advance())
    return simulator, observer, forecaster


@given(st.integers(0, 3), st.sampled_from([0.0, 0.5, 2.0, 5.0]), st.integers(1, 25))
def test_it_costs_what_a_play_with_the_same_handover_costs(action, follow_s, decisions):
    _, observer, forecaster = after(decisions, Fixed(3))
    found = forecaster.costs_of_following(action, 5.0, 2, follow_s)
    for future in range(2):
        fork = forecaster._future(future).fork()
        watch, until_s, end_s = observer.fork(fork), fork.now_s + follow_s, fork.now_s + 5.0
        before = fork.charged_s()
        fork.apply(action)
        while (point := fork.advance_until(end_s)) is not None:
            choice = 3 if point.now_s < until_s else Shortest().predict(watch(point))[0]
            fork.apply(choice)
        assert found[future] == fork.charged_s() - before


def test_following_a_good_policy_costs_nothing_and_a_bad_one_more_the_longer():
    _, _, forecaster = after(20, Fixed(3))
    alone = forecaster.costs((3,), 8.0, 4)[0]
    costs = [forecaster.costs_of_following(3, 8.0, 4, follow_s) for follow_s in (0.0, 2.0, 6.0)]
    assert np.array_equal(costs[0], alone)
    assert costs[0].mean() < costs[1].mean() < costs[2].mean()
    _, _, same = after(20, Shortest())
    assert np.array_equal(same.costs_of_following(1, 8.0, 4, 6.0), same.costs((1,), 8.0, 4)[0])


@pytest.mark.parametrize("broken", [Failing(3), Unheard(3), Fixed(7), Fixed(float("nan"))])
def test_what_a_policy_raises_or_may_not_do_is_replaced_as_behind_a_guard(broken):
    _, _, forecaster = after(20, broken)
    assert np.array_equal(forecaster.costs_of_following(1, 5.0, 3, 5.0), forecaster.costs((1,), 5.0, 3)[0])


def test_states_are_handed_on_and_the_live_policy_is_left_alone():
    policy = Counting(good=22)
    _, observer, forecaster = after(20, policy)
    forecaster.policy_state = 20
    fork = forecaster._future(0).fork()
    rule = copy.deepcopy(policy)
    expected = play(fork, observer.fork(fork), rule, 0, fork.now_s + 5.0, state=20)
    assert forecaster.costs_of_following(0, 5.0, 1, 5.0)[0] == expected
    assert rule.told > 2
    assert policy.told == 0


def test_a_rare_twin_that_follows_holds_off_what_one_that_does_not_lets_through():
    speeds = (2.0, 1.0, 1.0, 1.0)
    fallback, _ = run(Shortest(), None, speeds)

    def guarded(follow_s: float):
        twin = TwinConfig(horizon_s=10.0, futures=3, relative_margin=0.0, z=0.0, min_gap_s=3.0, follow_s=follow_s)
        return run(Fixed(3), GuardConfig(checks=(ContractConfig(), twin), supervisor=PATIENT), speeds)

    without, _ = guarded(0.0)
    cost, policy = guarded(3.0)
    assert cost <= without
    assert cost < 1.2 * fallback
    assert guarded(3.0)[1].recorder.log_hash() == policy.recorder.log_hash()


def test_a_policy_that_cannot_be_copied_is_refused_with_the_mend():
    policy = Fixed(1)
    policy.lock = threading.Lock()
    config = GuardConfig(checks=(TwinConfig(follow_s=1.0),))
    guarded = GuardedPolicy(policy, Shortest(), build_guard(config, LAYOUT), LAYOUT)
    simulator = queue()
    with pytest.raises(HandrailError, match=r"cannot be copied .*set follow_s to 0"):
        guarded.bind(simulator, QueueObserver(simulator))
    GuardedPolicy(policy, Shortest(), build_guard(GuardConfig(checks=(TwinConfig(),)), LAYOUT), LAYOUT).bind(
        simulator, QueueObserver(simulator)
    )


def test_what_is_followed_lies_within_the_horizon():
    with pytest.raises(HandrailError, match=r"guard: checks\.0\.twin: follow_s \(9\) is beyond horizon_s \(5\)"):
        GuardConfig.from_yaml("checks: [{check: twin, horizon_s: 5, follow_s: 9}]", "guard")
