"""Observations and returns of a run, for value heads."""

from __future__ import annotations

import math

import numpy as np

from handrail.policies.interface import Feedback, OutcomeSignal
from handrail.policies.return_collector import ReturnCollector


class One:
    latency_s = 0.25

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return 1, state


def collected(every: int = 1) -> ReturnCollector:
    collector = ReturnCollector(One(), every=every)
    values = {0: 2.0, 2: math.inf, 3: 4.0}
    for i in range(6):
        outcomes = (OutcomeSignal(i - 1, False, values[i - 1]),) if i - 1 in values else ()
        collector.notify(Feedback(float(i), i, None, outcomes))
        assert collector.predict(np.full(3, i, dtype=np.float32)) == (1, None)
    return collector


def test_returns_are_of_the_outcomes_from_each_decision_on():
    rows, returns = collected().pairs(discount=0.0, most=10.0)
    assert rows[:, 0].tolist() == [0, 2, 3]  # the others have no outcome
    assert returns.tolist() == [2.0, 10.0, 4.0]
    rows, returns = collected().pairs(discount=0.5)  # without a cut the lost item is left out
    assert rows[:, 0].tolist() == [0, 1, 2, 3]
    assert returns.tolist() == [(2.0 + 0.125 * 4.0) / 1.125, 4.0, 4.0, 4.0]


def test_observations_may_be_thinned():
    rows, returns = collected(every=3).pairs(discount=0.5)
    assert rows[:, 0].tolist() == [0, 3]
    assert len(returns) == 2
    assert collected().latency_s == 0.25
