"""Each broken prefetch selector is broken in the way that its name says, and only in that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_prefetch import LAYOUT, MENU, NEXT_LINE, OBL, READAHEAD, STRIDE, arms, random_arms

from handrail.policies import SABOTAGES, make_heuristic, make_policy, make_sabotage
from handrail.traces.errors import HandrailError

OBSERVATIONS = [random_arms(np.random.default_rng(i)) for i in range(60)]


def make(kind: str, **kwargs: object):
    return make_sabotage(kind, LAYOUT, domain="prefetch", arms=MENU, **kwargs)


def test_every_domain_has_the_same_kinds():
    assert [make(kind).name for kind in SABOTAGES] == [f"sabotage:{kind}" for kind in SABOTAGES]
    assert make_policy("sabotage:slow", LAYOUT, domain="prefetch", arms=MENU).name == "sabotage:slow"
    with pytest.raises(HandrailError, match=r"'sabotage:evil'.*sabotage:worst"):
        make("sabotage:evil")


def test_worst_wastes_most_and_of_equals_takes_the_highest_degree():
    worst = make("worst")
    assert worst.predict(arms({}, {"waste": 0.1}, {"waste": 2.0}, {"waste": 1.0}))[0] == STRIDE
    assert worst.predict(arms({}, {"waste": 2.0}, {"waste": 2.0}, {"waste": 1.0}))[0] == STRIDE
    assert worst.predict(arms())[0] == READAHEAD  # nothing known yet: two of degree 32, the first
    assert worst.predict(arms({}, {}, {}, {"waste": 1.0}, {"waste": 1.0}))[0] == READAHEAD
    assert worst.predict(arms({}, {}, {}, {}, {"waste": 1.0}))[0] == NEXT_LINE


def test_random_takes_every_arm_and_uses_its_seed():
    draws = [[make("random", seed=seed).predict(o)[0] for o in OBSERVATIONS] for seed in (1, 1, 2)]
    policy = make("random", seed=1)
    assert {policy.predict(o)[0] for o in OBSERVATIONS} == set(range(len(MENU)))
    assert draws[0] == draws[1] != draws[2]


def test_constant_is_the_most_aggressive_arm_always():
    constant = make("constant")
    assert {constant.predict(arms({}, {"coverage": c}, standing=OBL))[0] for c in (0.0, 0.5, 1.0)} == {READAHEAD}


def test_nan_is_not_a_number():
    assert math.isnan(make("nan").predict(OBSERVATIONS[0])[0])


def test_slow_chooses_as_the_fallback_does_and_declares_a_second():
    slow, fallback = make("slow"), make_heuristic("standing", LAYOUT, domain="prefetch", arms=MENU)
    assert slow.latency_s == 1.0
    assert [slow.predict(o)[0] for o in OBSERVATIONS] == [fallback.predict(o)[0] for o in OBSERVATIONS]


def test_raise_works_for_100_decisions_and_never_again():
    policy = make("raise")
    for _ in range(100):
        assert policy.predict(arms(standing=STRIDE))[0] == STRIDE
    for _ in range(3):
        with pytest.raises(RuntimeError, match="sabotage"):
            policy.predict(OBSERVATIONS[0])


def test_only_the_slow_one_declares_a_latency():
    assert {make(kind).latency_s for kind in SABOTAGES if kind != "slow"} == {0.0}
