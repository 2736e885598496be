"""A policy in a process of its own: it answers as it would here, and what hangs, raises or dies is contained."""

from __future__ import annotations

import os
import time
from functools import partial

import numpy as np
import pytest

from handrail.envs.llm_serving import layout_for
from handrail.policies import Feedback, make_policy
from handrail.policies.isolated import MAX_BACKOFF, IsolatedPolicy
from handrail.traces import HandrailError

LAYOUT = layout_for(3)
OBSERVATION = np.linspace(0.0, 1.0, LAYOUT.size, dtype=np.float32)


class Moody:
    """Counts what it hears; hangs, dies or raises when the observation's first value says so."""

    name = "moody"
    latency_s = 0.5
    needs_observation = False

    def __init__(self):
        self.heard = 0

    def notify(self, feedback):
        self.heard += 1

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        mood = int(observation[0])
        if mood == 1:
            time.sleep(3600)
        if mood == 2:
            os._exit(3)
        if mood == 3:
            raise ValueError("no mood")
        return self.heard, (state or 0) + 1


def moody(mood=0):
    return np.full(3, mood, dtype=np.float32)


@pytest.fixture
def policy():
    made = IsolatedPolicy(Moody, 1.0)
    yield made
    made.close()


def hear(policy, times):
    for i in range(times):
        policy.notify(Feedback(float(i), i))


def test_it_answers_hears_and_declares_as_the_policy_does(policy):
    assert (policy.name, policy.needs_observation) == ("moody", False)
    hear(policy, 2)
    assert policy.predict(moody())[0] == 2
    assert policy.latency_s == 0.5
    hear(policy, 1)
    assert policy.predict(moody(), "mine") == (3, "mine")
    assert policy.lost == 0


def test_a_named_policy_decides_as_in_this_process():
    here = make_policy("expected-drain", LAYOUT)
    there = IsolatedPolicy(partial(make_policy, "expected-drain", LAYOUT), 10.0)
    assert [there.predict(OBSERVATION)[0] for _ in range(3)] == [here.predict(OBSERVATION)[0]] * 3
    there.close()


@pytest.mark.parametrize("mood", [1, 2])
def test_what_hangs_or_dies_is_lost_and_started_again_after_a_backoff(policy, mood):
    hear(policy, 4)
    assert policy.predict(moody())[0] == 4
    assert policy.predict(moody(mood), "kept") == (0, "kept")
    assert policy.latency_s == float("inf")
    assert policy.predict(moody())[0] == 0
    assert (policy.hung, policy.lost) == (1, 2)
    hear(policy, 1)
    assert policy.predict(moody())[0] == 1  # a new process: what the old one had heard is gone
    assert policy.latency_s == 0.5
    assert policy.predict(moody(mood))[0] == 0
    assert [policy.predict(moody())[0] for _ in range(2)] == [0, 0]
    assert policy.lost == 5
    hear(policy, 7)
    assert policy.predict(moody())[0] == 7
    assert MAX_BACKOFF > 2


def test_what_it_raises_is_raised_here_and_it_lives_on(policy):
    with pytest.raises(RuntimeError, match="ValueError: no mood"):
        policy.predict(moody(3))
    assert policy.predict(moody()) == (0, None)


def test_a_policy_that_cannot_be_built_says_so():
    with pytest.raises(HandrailError, match="no such policy folder"):
        IsolatedPolicy(partial(make_policy, "no-such-policy", LAYOUT), 1.0)
    with pytest.raises(HandrailError, match="above 0"):
        IsolatedPolicy(Moody, 0.0)
