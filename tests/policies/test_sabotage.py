"""Each broken policy is broken in the way that its name says, and only in that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_observations import observe, random_observation

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import SABOTAGES, make_heuristic, make_sabotage
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)
OBSERVATIONS = [random_observation(LAYOUT, np.random.default_rng(i)) for i in range(40)]


def test_the_six_kinds():
    assert list(SABOTAGES) == ["worst", "random", "constant", "nan", "slow", "raise"]
    assert [make_sabotage(kind, LAYOUT).name for kind in SABOTAGES] == [f"sabotage:{kind}" for kind in SABOTAGES]
    assert type(make_sabotage("sabotage:worst", LAYOUT)) is SABOTAGES["worst"]


def test_worst_is_the_longest_expected_drain_that_is_legal():
    policy = make_sabotage("worst", LAYOUT)
    assert policy.predict(observe(LAYOUT, drain_s=[1, 4, 3, 2]))[0] == 1
    assert policy.predict(observe(LAYOUT, drain_s=[1, 4, 3, 2], up=[1, 0, 1, 1]))[0] == 2


def test_random_stays_legal_and_uses_its_seed():
    policy = make_sabotage("random", LAYOUT, seed=1)
    actions = [policy.predict(o)[0] for o in OBSERVATIONS]
    assert all(LAYOUT.replica(o, "up")[a] == 1 for o, a in zip(OBSERVATIONS, actions, strict=True))
    assert len(set(actions)) == 4


def test_constant_is_replica_0_even_when_it_is_down():
    policy = make_sabotage("constant", LAYOUT)
    assert {policy.predict(o)[0] for o in [*OBSERVATIONS, observe(LAYOUT, up=[0, 1, 1, 1])]} == {0}


def test_nan_is_not_a_number():
    assert math.isnan(make_sabotage("nan", LAYOUT).predict(OBSERVATIONS[0])[0])


def test_slow_chooses_well_and_declares_five_seconds():
    slow, fallback = make_sabotage("slow", LAYOUT), make_heuristic("expected-drain", LAYOUT)
    assert slow.latency_s == 5.0
    assert [slow.predict(o)[0] for o in OBSERVATIONS] == [fallback.predict(o)[0] for o in OBSERVATIONS]


def test_raise_works_for_100_decisions_and_never_again():
    policy = make_sabotage("raise", LAYOUT)
    for _ in range(100):
        assert policy.predict(observe(LAYOUT, drain_s=[2, 1, 2, 2]))[0] == 1
    for _ in range(3):
        with pytest.raises(RuntimeError, match="sabotage"):
            policy.predict(OBSERVATIONS[0])


def test_only_the_slow_one_declares_a_latency():
    assert {kind: make_sabotage(kind, LAYOUT).latency_s for kind in SABOTAGES if kind != "slow"} == {
        kind: 0.0 for kind in SABOTAGES if kind != "slow"
    }


def test_an_unknown_kind_is_a_clear_error():
    with pytest.raises(HandrailError, match=r"'sabotage:evil'.*sabotage:worst"):
        make_sabotage("sabotage:evil", LAYOUT)
