"""Each prefetch rule against the sentence that defines it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_prefetch import LAYOUT, MENU, NEXT_LINE, NONE, OBL, READAHEAD, STRIDE, arms, random_arms

from handrail.envs.llm_serving.layout import layout_for as routing_layout_for
from handrail.envs.prefetch.arms import DEFAULT_MENU
from handrail.envs.prefetch.layout import layout_for
from handrail.policies import DOMAINS, Policy, bundled_folder, heuristics_of, make_heuristic, make_policy
from handrail.traces.errors import HandrailError

RULES = ["standing", "accuracy", "random"]
NAMES = [*RULES, *MENU]


def make(name: str, **kwargs: object):
    return make_heuristic(name, LAYOUT, domain="prefetch", **({"arms": MENU} | kwargs))


def choose(name: str, observation: np.ndarray, **kwargs: object) -> int:
    action, state = make(name, **kwargs).predict(observation, "kept")
    assert state == "kept"
    assert type(action) is int
    return action


def test_the_domain_is_known_and_names_its_rules_and_the_arms_of_the_default_menu():
    assert "prefetch" in DOMAINS
    assert bundled_folder("prefetch").name == "prefetch"
    known = heuristics_of("prefetch")
    assert list(known) == [*RULES, *DEFAULT_MENU]
    assert len(known) == len(RULES) + len(DEFAULT_MENU)
    assert "stride:3" in known
    assert "stride:0" not in known
    assert "sjf" not in known
    assert known["stride"].name == "stride:1"
    assert known["stride:1"] is known["stride"]


@pytest.mark.parametrize("name", NAMES)
def test_every_heuristic_is_a_policy_that_knows_nothing_of_the_future(name):
    policy = make(name)
    assert isinstance(policy, Policy)
    assert policy.name == name
    assert policy.latency_s == 0.0
    assert policy.knows == "none"
    assert make_policy(name, LAYOUT, domain="prefetch", arms=MENU).name == name


def test_an_oracle_is_said_to_be_one():
    menu = (*MENU[:-1], "oracle:4")
    assert make("oracle:4", arms=menu).knows == "true"
    assert make("accuracy", arms=menu).knows == "true"
    assert make("random", arms=menu).knows == "true"
    assert make("standing", arms=menu).knows == "none"
    assert make("obl", arms=menu).knows == "none"


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tie_seed=st.none() | st.integers(0, 3))
def test_a_choice_is_an_arm_and_a_copy_goes_on_alike(name, seed, tie_seed):
    rng = np.random.default_rng(seed)
    policy, again = (make(name, seed=5, tie_seed=tie_seed) for _ in range(2))
    for _ in range(10):
        observation = random_arms(rng)
        before = observation.copy()
        action = policy.predict(observation)[0]
        assert 0 <= action < len(MENU)
        assert again.predict(observation)[0] == action
        np.testing.assert_array_equal(observation, before)
    fork = copy.deepcopy(policy)
    for _ in range(10):
        observation = random_arms(rng)
        assert policy.predict(observation)[0] == fork.predict(observation)[0]


def test_standing_takes_the_marked_arm_whatever_the_tie_seed():
    for row in range(len(MENU)):
        assert choose("standing", arms(standing=row)) == row
        assert choose("standing", arms(standing=row), tie_seed=7) == row
    with pytest.raises(HandrailError, match="no arm of the menu is marked as standing"):
        choose("standing", arms(standing=-1))


def test_a_fixed_arm_is_that_arm():
    observation = arms()
    assert [choose(label, observation) for label in MENU] == list(range(len(MENU)))
    assert choose("obl", observation) == OBL
    assert not make("obl").needs_observation


@pytest.mark.parametrize("again", [lambda policy: pickle.loads(pickle.dumps(policy)), copy.deepcopy])
def test_a_fixed_arm_is_copied_whole(again):
    policy = make("obl")
    copied = again(policy)
    assert type(copied) is type(policy)
    assert (copied.name, copied.arm, copied.knows, copied.arms) == (policy.name, policy.arm, policy.knows, policy.arms)
    assert copied.predict(arms())[0] == OBL


def test_an_arm_must_be_in_the_menu_and_the_menu_as_long_as_the_rows():
    with pytest.raises(HandrailError, match=r"the menu has no arm obl:2; add it, or choose one of none, obl:1, stride"):
        make("obl:2")
    with pytest.raises(HandrailError, match=rf"{len(DEFAULT_MENU)} arms and the observation 5; name the menu's arms"):
        make_heuristic("obl", LAYOUT, domain="prefetch")
    default = layout_for(len(DEFAULT_MENU))
    assert make_heuristic("obl", default, domain="prefetch").predict(np.zeros(default.size))[0] == 1


@pytest.mark.parametrize("name", ["obl:0", "obl:65", "none:1", "expected-drain", "obl:x", ""])
def test_other_names_are_refused(name):
    with pytest.raises(HandrailError, match=r"there is no heuristic .*choose one of standing, accuracy, random, none"):
        make(name)
    with pytest.raises(HandrailError, match=r"--policy .*standing, accuracy"):
        make_policy(name, LAYOUT, domain="prefetch", arms=MENU)


def test_a_layout_of_another_domain_is_refused():
    for name in ("standing", "accuracy"):
        with pytest.raises(HandrailError, match="no per-replica field"):
            make_heuristic(name, routing_layout_for(2), domain="prefetch")


def test_accuracy_weighs_coverage_against_waste_by_utilisation():
    rows = [{}, {"coverage": 0.2}, {"coverage": 0.5, "waste": 0.5}, {"coverage": 0.7, "waste": 3.0}]
    assert choose("accuracy", arms(*rows, utilisation_slow=0.0)) == READAHEAD  # waste is free
    assert choose("accuracy", arms(*rows, utilisation_slow=0.3)) == STRIDE
    assert choose("accuracy", arms(*rows, utilisation_slow=0.9)) == OBL
    assert choose("accuracy", arms({}, {"coverage": 0.1, "waste": 0.3}, *rows[3:3], utilisation_slow=0.9)) == NONE
    assert choose("accuracy", arms()) == NONE  # nothing seen yet


def test_a_placebo_of_accuracy_takes_any_of_the_equal_ones():
    observation = arms({}, {"coverage": 0.5}, {"coverage": 0.5}, {"coverage": 0.4}, {"coverage": 0.5})
    assert choose("accuracy", observation) == OBL
    placebo = make("accuracy", tie_seed=1)
    assert {placebo.predict(observation)[0] for _ in range(60)} == {OBL, STRIDE, NEXT_LINE}


def test_random_takes_every_arm_and_follows_its_seed():
    def draws(**seeds: int) -> list[int]:
        policy = make("random", **seeds)
        return [policy.predict(arms())[0] for _ in range(80)]

    assert set(draws(seed=1)) == set(range(len(MENU)))
    assert draws(seed=1) == draws(seed=1) != draws(seed=2)
    assert draws(seed=1) != draws(seed=1, tie_seed=0)
