"""Each routing rule against the sentence that defines it."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_observations import observe, random_observation

from handrail.envs.common import Field, Layout
from handrail.envs.llm_serving.layout import TELEMETRY_FIELDS, layout_for
from handrail.policies import HEURISTICS, Policy, make_heuristic
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)


def choose(name: str, observation: np.ndarray, **kwargs: object) -> int:
    action, state = make_heuristic(name, LAYOUT, **kwargs).predict(observation, "kept")
    assert state == "kept"
    assert type(action) is int
    return action


def test_the_names_of_the_command_line():
    assert list(HEURISTICS) == [
        *("random", "round-robin", "least-requests", "least-tokens", "expected-drain"),
        *("power-of-two", "vllm-dp", "lmetric", "prefix-affinity", "own-books"),
    ]


def test_own_books_weigh_what_was_sent_by_the_replicas_speed():
    common = {"prompt_ktokens": 2.0, "prefix_fraction": 0.0, "inflight": 0.0}
    fast_is_busy = observe(LAYOUT, prefill_s=[0.2, 0.4, 9, 9], inflight_prefill_ktokens=[1.9, 0.0, 0, 0], **common)
    assert choose("own-books", fast_is_busy) == 0  # 0.1 x (2 + 1.9) against 0.2 x 2
    fast_is_busier = observe(LAYOUT, prefill_s=[0.2, 0.4, 9, 9], inflight_prefill_ktokens=[2.1, 0.0, 0, 0], **common)
    assert choose("own-books", fast_is_busier) == 1
    decoding = observe(
        LAYOUT, prompt_ktokens=2.0, prefill_s=0.2, inflight_prefill_ktokens=0.0, inflight=[3.0, 2.0, 4.0, 5.0]
    )
    assert choose("own-books", decoding) == 1


def test_own_books_believe_no_report():
    rng = np.random.default_rng(9)
    for _ in range(50):
        observation = random_observation(LAYOUT, rng)
        chosen = choose("own-books", observation)
        for name in TELEMETRY_FIELDS:
            LAYOUT.replica(observation, name)[:] = rng.choice([0.0, np.nan, 1e6])
        assert choose("own-books", observation) == chosen


@pytest.mark.parametrize("name", HEURISTICS)
def test_every_heuristic_is_a_policy_that_says_what_it_knows(name: str):
    policy = make_heuristic(name, LAYOUT)
    assert isinstance(policy, Policy)
    assert policy.name == name
    assert policy.latency_s == 0.0
    assert policy.knows == ("predicted" if name in ("least-tokens", "expected-drain") else "none")


@pytest.mark.parametrize("name", HEURISTICS)
@given(data=st.data())
def test_a_replica_that_is_down_is_never_chosen_while_one_is_up(name: str, data: st.DataObject):
    n = data.draw(st.integers(1, 9), label="replicas")
    layout = layout_for(n)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    tie_seed = data.draw(st.none() | st.integers(0, 3), label="tie_seed")
    policy = make_heuristic(name, layout, seed=1, tie_seed=tie_seed)
    for _ in range(5):
        observation = random_observation(layout, rng)
        before = observation.copy()
        action, _ = policy.predict(observation)
        assert layout.replica(observation, "up")[action] == 1.0
        np.testing.assert_array_equal(observation, before)


@pytest.mark.parametrize("name", HEURISTICS)
def test_a_fleet_that_is_all_down_still_gets_an_index(name: str):
    policy = make_heuristic(name, LAYOUT)
    assert all(policy.predict(observe(LAYOUT, up=0))[0] in range(4) for _ in range(6))


@pytest.mark.parametrize("name", HEURISTICS)
def test_equal_seeds_give_equal_choices_and_a_deep_copy_goes_on_alike(name: str):
    rng = np.random.default_rng(5)
    observations = [random_observation(LAYOUT, rng) for _ in range(60)]
    first, second = make_heuristic(name, LAYOUT, seed=3), make_heuristic(name, LAYOUT, seed=3)
    run = [first.predict(o)[0] for o in observations[:30]]
    assert run == [second.predict(o)[0] for o in observations[:30]]
    fork = copy.deepcopy(first)
    assert [first.predict(o)[0] for o in observations[30:]] == [fork.predict(o)[0] for o in observations[30:]]


def test_random_is_uniform_over_what_is_up_and_depends_on_the_seed():
    observation = observe(LAYOUT, up=[1, 0, 1, 1])
    policy = make_heuristic("random", LAYOUT, seed=0)
    draws = [policy.predict(observation)[0] for _ in range(3000)]
    counts = Counter(draws)
    assert set(counts) == {0, 2, 3}
    assert all(900 < count < 1100 for count in counts.values())
    other = make_heuristic("random", LAYOUT, seed=1)
    assert draws[:50] != [other.predict(observation)[0] for _ in range(50)]


def test_round_robin_goes_round_and_skips_what_is_down():
    policy = make_heuristic("round-robin", LAYOUT)
    assert [policy.predict(observe(LAYOUT))[0] for _ in range(6)] == [0, 1, 2, 3, 0, 1]
    assert [policy.predict(observe(LAYOUT, up=[1, 1, 0, 0]))[0] for _ in range(3)] == [0, 1, 0]


def test_least_requests_counts_what_the_router_has_in_flight():
    assert choose("least-requests", observe(LAYOUT, inflight=[3, 2, 1, 5], running=[0, 9, 9, 0])) == 2
    assert choose("least-requests", observe(LAYOUT, inflight=[3, 1, 1, 5])) == 1


def test_least_tokens_adds_prompts_and_estimated_outputs():
    # Replica 0: 1 + 10 * 0.2 = 3; replica 1: 4 + 0 = 4; replica 2: 0 + 16 * 0.2 = 3.2; replica 3: 5.
    observation = observe(
        LAYOUT,
        inflight_prefill_ktokens=[1, 4, 0, 5],
        inflight=[10, 0, 16, 0],
        output_estimate_ktokens=0.2,
    )
    assert choose("least-tokens", observation) == 0
    layout_estimate_off = observe(LAYOUT, inflight_prefill_ktokens=[1, 4, 0, 5], inflight=[10, 0, 16, 0])
    assert choose("least-tokens", layout_estimate_off) == 2


def test_expected_drain_adds_this_request_at_each_replicas_own_speed():
    assert choose("expected-drain", observe(LAYOUT, drain_s=[1.0, 0.9, 2, 2], prefill_s=[0.1, 0.3, 0, 0])) == 0
    assert choose("expected-drain", observe(LAYOUT, drain_s=[1.0, 0.9, 2, 2], prefill_s=[0.1, 0.15, 0, 0])) == 1


def test_power_of_two_compares_two_different_replicas():
    policy = make_heuristic("power-of-two", LAYOUT, seed=0)
    draws = Counter(policy.predict(observe(LAYOUT, inflight=[4, 3, 2, 1]))[0] for _ in range(6000))
    # Of the 6 pairs, replica 3 wins 3, replica 2 wins 2, replica 1 wins 1 and the fullest none.
    assert 0 not in draws
    assert draws[3] == pytest.approx(3000, abs=200)
    assert draws[2] == pytest.approx(2000, abs=200)
    assert draws[1] == pytest.approx(1000, abs=150)


def test_an_outage_does_not_shift_the_random_stream_of_power_of_two():
    through, without = make_heuristic("power-of-two", LAYOUT, seed=4), make_heuristic("power-of-two", LAYOUT, seed=4)
    through.predict(observe(LAYOUT, up=[0, 0, 1, 0]))
    without.predict(observe(LAYOUT))
    observations = [observe(LAYOUT, inflight=[4, 3, 2, 1])] * 40
    assert [through.predict(o)[0] for o in observations] == [without.predict(o)[0] for o in observations]


def test_vllm_dp_weighs_waiting_four_times_and_ignores_what_the_router_sent():
    assert choose("vllm-dp", observe(LAYOUT, waiting=[1, 0, 0, 2], running=[0, 5, 6, 0], inflight=[0, 9, 0, 0])) == 0
    assert choose("vllm-dp", observe(LAYOUT, waiting=[1, 0, 0, 2], running=[2, 5, 6, 0])) == 1


def test_vllm_dp_rotates_ties():
    policy = make_heuristic("vllm-dp", LAYOUT)
    assert [policy.predict(observe(LAYOUT))[0] for _ in range(5)] == [0, 1, 2, 3, 0]
    busy = observe(LAYOUT, running=[1, 0, 1, 0])
    assert [policy.predict(busy)[0] for _ in range(4)] == [1, 3, 3, 1]


def test_lmetric_multiplies_new_prefill_tokens_and_batch_size():
    # (2 + 1) * 2 = 6 against (0 + 1) * 5 = 5; with the prompt cached on replica 0, (2 + 0) * 2 = 4.
    base = {"inflight_prefill_ktokens": [2, 0, 9, 9], "inflight": [1, 4, 9, 9], "prompt_ktokens": 1}
    assert choose("lmetric", observe(LAYOUT, **base)) == 1
    assert choose("lmetric", observe(LAYOUT, **base, prefix_fraction=[1, 0, 0, 0])) == 0


def test_prefix_affinity_follows_the_longest_match_within_the_load_cap():
    assert choose("prefix-affinity", observe(LAYOUT, prefix_fraction=[0.5, 0.9, 0, 0], inflight=[9, 30, 5, 0])) == 1
    # 33 above the least loaded: replica 1 is left out and the next best match takes it.
    assert choose("prefix-affinity", observe(LAYOUT, prefix_fraction=[0.5, 0.9, 0, 0], inflight=[9, 33, 5, 0])) == 0
    # The least loaded is the least loaded *up* replica, so that 33 above a replica that is down is no reason.
    down = observe(LAYOUT, up=[1, 1, 1, 0], prefix_fraction=[0.5, 0.9, 0, 0], inflight=[9, 33, 5, 0])
    assert choose("prefix-affinity", down) == 1


def test_prefix_affinity_falls_back_to_least_requests_below_half_a_match():
    assert choose("prefix-affinity", observe(LAYOUT, prefix_fraction=[0.49, 0.4, 0, 0], inflight=[9, 9, 5, 6])) == 2


def test_prefix_affinity_sends_equal_matches_to_the_less_loaded():
    assert choose("prefix-affinity", observe(LAYOUT, prefix_fraction=[0.8, 0.8, 0.8, 0], inflight=[4, 3, 5, 0])) == 1


@pytest.mark.parametrize("name", ["least-requests", "least-tokens", "expected-drain", "lmetric", "prefix-affinity"])
def test_ties_go_to_the_lowest_index_and_a_placebo_draws_lots(name: str):
    observation = observe(LAYOUT, up=[0, 1, 1, 1])
    assert choose(name, observation) == 1
    placebo = make_heuristic(name, LAYOUT, tie_seed=0)
    draws = Counter(placebo.predict(observation)[0] for _ in range(900))
    assert set(draws) == {1, 2, 3}
    assert min(draws.values()) > 220


def test_a_placebo_treats_near_ties_as_ties_and_nothing_else():
    placebo = make_heuristic("expected-drain", LAYOUT, tie_seed=0)
    near = observe(LAYOUT, drain_s=[10.0, 10.005, 10.05, 11.0])
    assert {placebo.predict(near)[0] for _ in range(100)} == {0, 1}
    assert {choose("expected-drain", near) for _ in range(10)} == {0}


@pytest.mark.parametrize("name", ["random", "round-robin", "power-of-two", "vllm-dp"])
def test_a_placebo_of_a_rule_that_rotates_or_draws_makes_other_choices(name: str):
    rng = np.random.default_rng(2)
    observations = [observe(LAYOUT, inflight=rng.integers(0, 9, 4)) for _ in range(50)]

    def run(tie_seed: int | None) -> tuple[int, ...]:
        policy = make_heuristic(name, LAYOUT, seed=0, tie_seed=tie_seed)
        return tuple(policy.predict(o)[0] for o in observations)

    assert len({run(None), *(run(s) for s in range(6))}) >= 3
    assert run(3) == run(3)


def test_an_unknown_name_and_a_layout_without_the_field_are_clear_errors():
    with pytest.raises(HandrailError, match=r"no heuristic 'fastest'.*expected-drain"):
        make_heuristic("fastest", LAYOUT)
    bare = Layout([Field("up", 0, 1, "")], [], 2)
    with pytest.raises(HandrailError, match="no per-replica field 'drain_s'"):
        make_heuristic("expected-drain", bare)
    with pytest.raises(HandrailError, match="no global field 'prompt_ktokens'"):
        make_heuristic(
            "lmetric",
            Layout(
                [Field(n, 0, 1, "") for n in ("up", "inflight", "inflight_prefill_ktokens", "prefix_fraction")], [], 2
            ),
        )
