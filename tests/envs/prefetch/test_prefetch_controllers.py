"""Each controller against the paper's rule."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.envs.prefetch.arms import Arm
from handrail.envs.prefetch.config import CacheConfig
from handrail.envs.prefetch.controllers import Controller, IntervalStats, make_controller

QUIET = IntervalStats(
    accesses=64,
    misses=20,
    latency_sum_s=0.02,
    issued=0,
    useful=0,
    late=0,
    useless=0,
    polluted=0,
    utilisation=0.5,
    queueing_delay=0.5,
    miss_s=1e-3,
)


def made(controller: str, **values: object) -> Controller:
    return make_controller(CacheConfig(objects=10, controller=controller, **values))  # type: ignore[arg-type]


def labels(controller: Controller) -> list[str]:
    return [arm.label for arm in controller.ladder]


def seen(**fields: float) -> IntervalStats:
    return QUIET._replace(**fields)


any_interval = st.builds(
    IntervalStats,
    accesses=st.integers(0, 64),
    misses=st.integers(0, 64),
    latency_sum_s=st.floats(0, 10),
    issued=st.integers(0, 64),
    useful=st.integers(0, 64),
    late=st.integers(0, 64),
    useless=st.integers(0, 64),
    polluted=st.integers(0, 64),
    utilisation=st.floats(0, 1),
    queueing_delay=st.floats(0, 100),
    miss_s=st.just(1e-3),
)


@pytest.mark.parametrize("name", ["fixed", "hysteresis", "feedback", "bandit"])
@settings(deadline=None, max_examples=50)
@given(intervals=st.lists(any_interval, max_size=60))
def test_every_choice_is_a_place_on_the_ladder_and_a_copy_goes_on_alike(name, intervals):
    controller = made(name, prefetcher="stride", degree=4)
    assert controller.name == name
    for i, interval in enumerate([None, *intervals]):
        if i == len(intervals) // 2:
            fork = copy.deepcopy(controller)
            alike = [(fork.choose(later), later) for later in [None, *intervals][i:]]
            break
        assert 0 <= controller.choose(interval) < len(controller.ladder)
    for choice, later in alike:
        assert controller.choose(later) == choice


def test_fixed_keeps_its_arm():
    assert labels(made("fixed", prefetcher="stride", degree=4)) == ["stride:4"]
    assert labels(made("fixed", prefetcher="none")) == ["none"]


def test_without_a_prefetcher_there_is_nothing_to_steer():
    for name in ("hysteresis", "feedback"):
        controller = made(name, prefetcher="none")
        assert labels(controller) == ["none"]
        assert controller.choose(None) == controller.choose(seen(utilisation=1.0)) == 0
    assert len(labels(made("bandit", prefetcher="none"))) == 14


# Hysteresis.


def test_hysteresis_turns_off_above_either_threshold_and_on_below_both():
    controller = made("hysteresis")
    assert labels(controller) == ["none", "obl:1"]
    steps = [
        (None, 1),
        (seen(utilisation=0.8, queueing_delay=4.0), 1),  # at the threshold is not above it
        (seen(utilisation=0.81), 0),
        (seen(utilisation=0.7), 0),  # between: as it is
        (seen(utilisation=0.5, queueing_delay=2.0), 0),  # at the lower threshold is not below it
        (seen(utilisation=0.59, queueing_delay=1.9), 1),
        (seen(utilisation=0.7, queueing_delay=3.0), 1),
        (seen(utilisation=0.1, queueing_delay=4.1), 0),
        (seen(utilisation=0.6, queueing_delay=0.0), 0),
        (seen(utilisation=0.0, queueing_delay=0.0), 1),
    ]
    assert [controller.choose(interval) for interval, _ in steps] == [place for _, place in steps]


def test_hysteresis_reads_its_thresholds_from_the_config():
    limits = {"off_above": 0.3, "on_below": 0.2, "off_above_delay": 100.0, "on_below_delay": 100.0}
    controller = made("hysteresis", hysteresis=limits)
    assert [controller.choose(seen(utilisation=u)) for u in (0.25, 0.31, 0.25, 0.19)] == [1, 0, 0, 1]


# Feedback.

CASES = [  # accuracy, late, polluting -> step (Srinath et al., table 2)
    (0.9, True, False, +1),
    (0.9, True, True, +1),
    (0.9, False, False, 0),
    (0.9, False, True, -1),
    (0.5, True, False, +1),
    (0.5, True, True, -1),
    (0.5, False, False, 0),
    (0.5, False, True, -1),
    (0.2, True, False, -1),
    (0.2, True, True, -1),
    (0.2, False, False, 0),
    (0.2, False, True, -1),
]


@pytest.mark.parametrize(("accuracy", "late", "polluting", "step"), CASES)
def test_feedback_follows_the_table(accuracy, late, polluting, step):
    controller = made("feedback")
    assert labels(controller) == ["obl:1", "obl:2", "obl:4", "obl:8", "obl:16"]
    assert controller.choose(None) == 2
    used = round(100 * accuracy)
    late_ones = used // 10 if late else 0
    interval = seen(issued=100, useful=used - late_ones, late=late_ones, misses=100, polluted=10 if polluting else 0)
    assert controller.choose(interval) == 2 + step
    ends = {+1: 4, 0: 2, -1: 0}
    for _ in range(5):
        last = controller.choose(interval)
    assert last == ends[step]  # it stays on the ladder


def test_feedback_counts_half_of_the_old_and_half_of_the_new():
    controller = made("feedback")
    # Late in the first interval alone: 10 late of 100 used, then halved against 100 new uses at each interval.
    assert controller.choose(seen(issued=100, useful=90, late=10)) == 3
    shares = []
    late, used = 5.0, 50.0
    for _ in range(6):
        late, used = late / 2, (used + 100) / 2
        shares.append(late / used)
    expected, place = [], 3
    for share in shares:
        place = min(place + (share > 0.01), 4)
        expected.append(place)
    assert expected[0] == 4
    assert [controller.choose(seen(issued=100, useful=100)) for _ in shares] == expected
    # One that is late no more but pollutes once goes down until what it polluted has faded below 0.5 %.
    assert controller.choose(seen(issued=100, useful=100, misses=100, polluted=4)) == 3
    down = [controller.choose(seen(issued=100, useful=100, misses=100)) for _ in range(6)]
    assert down == [2, 1, 1, 1, 1, 1]


def test_feedback_stays_where_nothing_was_issued():
    controller = made("feedback")
    assert controller.choose(seen(issued=100, useful=10, polluted=10)) == 1
    assert [controller.choose(QUIET) for _ in range(5)] == [1] * 5


# Bandit.


def test_the_bandit_takes_each_arm_once_and_then_the_best():
    controller = made("bandit", menu=("none", "obl:1", "stride:4"), bandit={"gamma": 1.0, "exploration": 0.01})
    assert labels(controller) == ["none", "obl:1", "stride:4"]
    cost_s = [0.064, 0.016, 0.032]
    choices, place = [], controller.choose(None)
    for _ in range(12):
        choices.append(place)
        place = controller.choose(seen(latency_sum_s=cost_s[place]))
    assert choices == [0, 1, 2] + [1] * 9


def test_the_bandit_is_discounted_ucb():
    gamma, weight = 0.9, 0.5
    controller = made("bandit", menu=("none", "obl:1", "stride:4"), bandit={"gamma": gamma, "exploration": weight})
    rng = np.random.default_rng(np.random.SeedSequence(3))
    counts, sums = np.zeros(3), np.zeros(3)
    place = controller.choose(None)
    for step in range(300):
        latency_s = float(rng.gamma(2.0, (0.04, 0.02, 0.03)[place]))
        counts *= gamma
        counts[place] += 1
        # The paper's running mean: towards the reward by one over the discounted count.
        sums[place] += (-latency_s / 64 / 1e-3 - sums[place]) / counts[place]
        expected = step + 1 if step < 2 else int((sums + weight * np.sqrt(math.log(counts.sum()) / counts)).argmax())
        place = controller.choose(seen(latency_sum_s=latency_s))
        assert place == expected


def test_the_bandit_follows_a_change_when_it_forgets():
    controller = made("bandit", menu=("none", "obl:1"), bandit={"gamma": 0.9, "exploration": 0.2})
    place = controller.choose(None)
    taken = []
    for step in range(400):
        good = place == (step >= 200)
        taken.append(place)
        place = controller.choose(seen(latency_sum_s=0.01 if good else 0.06))
    assert np.mean(taken[100:200]) < 0.2
    assert np.mean(taken[300:]) > 0.8


def test_an_interval_without_accesses_teaches_the_bandit_nothing():
    controller = made("bandit")
    controller.choose(None)
    before = copy.deepcopy(controller)
    idle = seen(accesses=0, latency_sum_s=0.0)
    assert controller.choose(idle) == 0
    assert vars(controller) == vars(before)


def test_a_bandit_that_never_explores_and_forgets_all_goes_on_for_ever():
    controller = made("bandit", bandit={"gamma": 1e-9, "exploration": 0.0})
    place = controller.choose(None)
    for _ in range(2000):
        place = controller.choose(seen(latency_sum_s=1e-3 * place))
    assert controller.ladder[place] == Arm("none", 0)
    restless = made("bandit", bandit={"gamma": 1e-9, "exploration": 1.0})
    assert {restless.choose(QUIET) for _ in range(200)} == set(range(14))
