"""Normalisation of the routing scorer's inputs, and that its search starts at shortest expected drain."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_observations import observe, random_observation

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import make_heuristic
from handrail.policies.learning.features import ROUTING_FEATURES, ObservationSample, feature_statistics, scorer_search
from handrail.policies.network import Feature, ReplicaScorer, scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)


def sample(n: int = 200, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_observation(LAYOUT, rng) for _ in range(n)]


def test_statistics_are_over_decisions_and_replicas():
    observations = [
        observe(LAYOUT, drain_s=[0, 2, 4, 6], rate_10s=1),
        observe(LAYOUT, drain_s=[9, 11, 9, 11], rate_10s=3),
    ]
    statistics = feature_statistics(LAYOUT, [Feature(("drain_s",)), Feature(("rate_10s",))], observations)
    np.testing.assert_allclose(statistics.mean, [6.5, 2.0])
    np.testing.assert_allclose(statistics.std, [np.std([0, 2, 4, 6, 9, 11, 9, 11]), 1.0])
    # Spread is within a decision: sqrt(mean of 5 and 1), and none for what all replicas share.
    np.testing.assert_allclose(statistics.spread, [np.sqrt(3.0), 0.0])


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_the_search_starts_at_expected_drain(hidden: tuple[int, ...]):
    search = scorer_search(LAYOUT, sample(), hidden)
    shapes = scorer_shapes(len(search.features), hidden)
    tensors = unflatten(search.start, shapes)
    scorer = ReplicaScorer(LAYOUT, search.features, search.mean, search.std, tensors)
    fallback = make_heuristic("expected-drain", LAYOUT)
    for observation in sample(300, seed=1):
        assert scorer.act(observation) == fallback.predict(observation)[0]
    assert search.first_std.shape == search.start.shape
    assert (search.first_std > 0).all()
    assert tensors["linear"][search.features.index(Feature(("drain_s",)))] == -1.0


def test_features_that_set_no_replicas_apart_are_left_out_but_the_prefill_time_stays():
    observations = []
    for i, observation in enumerate(sample()):
        LAYOUT.replica(observation, "prefix_fraction")[:] = 0.0
        LAYOUT.replica(observation, "kv_fraction")[:] = 0.3
        LAYOUT.replica(observation, "prefill_s")[:] = 0.01 * (i % 7)
        observations.append(observation)
    search = scorer_search(LAYOUT, observations)
    assert {f.fields for f in ROUTING_FEATURES} - {f.fields for f in search.features} == {
        ("prefix_fraction",),
        ("kv_fraction",),
    }
    scorer = ReplicaScorer(LAYOUT, search.features, search.mean, search.std, {"linear": search.start})
    fallback = make_heuristic("expected-drain", LAYOUT)
    for observation in sample(300, seed=1):
        assert scorer.act(observation) == fallback.predict(observation)[0]


def test_nothing_to_learn_from_is_a_clear_error():
    with pytest.raises(HandrailError, match="no decision was seen"):
        scorer_search(LAYOUT, [])
    with pytest.raises(HandrailError, match="the same expected drain at every decision"):
        scorer_search(LAYOUT, [observe(LAYOUT)] * 3)


def test_the_sample_answers_as_its_policy_and_keeps_copies():
    observations = sample(10)
    fallback = make_heuristic("expected-drain", LAYOUT)
    sampler = ObservationSample(fallback, stride=3)
    for observation in observations:
        given = observation.copy()
        assert sampler.predict(given, "s") == fallback.predict(observation, "s")
        given[:] = 0
    assert len(sampler.observations) == 4
    np.testing.assert_array_equal(sampler.observations, observations[::3])
