"""Features of the prefetch scorer, and the rule that its training starts at."""

from __future__ import annotations

import numpy as np
import pytest
from prefetch_toy import CACHE, LAYOUT, observations, two_tenants

from handrail.policies import make_heuristic
from handrail.policies.learning.arm_features import (
    CONTEXT_FEATURES,
    COVERAGE,
    LEAST_STD,
    PREFETCH_FEATURES,
    arm_search,
)
from handrail.policies.learning.features import ScorerSearch
from handrail.policies.network import Feature, ReplicaScorer, scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

SEEN = observations(two_tenants(6000, seed=3))


def scorer(search: ScorerSearch) -> ReplicaScorer:
    tensors = unflatten(search.start, scorer_shapes(len(search.features), search.hidden))
    return ReplicaScorer(LAYOUT, search.features, search.mean, search.std, tensors)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_the_start_decides_as_the_heuristic_accuracy(hidden: tuple[int, ...]):
    network = scorer(arm_search(LAYOUT, SEEN, hidden))
    rule = make_heuristic("accuracy", LAYOUT, 0, None, "prefetch", arms=CACHE.menu)
    agree = [network.act(seen) == rule.predict(seen)[0] for seen in SEEN]
    assert np.mean(agree) > 0.99  # scores in float64 or float32 may tie otherwise
    assert len({network.act(seen) for seen in SEEN}) > 1


def test_what_never_differs_between_arms_is_left_out_but_for_the_start():
    search = arm_search(LAYOUT, SEEN)
    assert set(search.features) <= set(PREFETCH_FEATURES)
    assert search.start[search.features.index(COVERAGE)] == 1.0
    idle = [seen.copy() for seen in SEEN]
    for seen in idle:
        LAYOUT.globals(seen)[:] = 0.0
    left = arm_search(LAYOUT, idle).features
    assert Feature(("coverage", "hit_ratio")) in search.features
    assert Feature(("coverage", "hit_ratio")) not in left
    assert Feature(("waste", "utilisation_slow")) in left


def test_what_hardly_varied_in_the_sample_is_not_blown_up():
    steady = [seen.copy() for seen in SEEN]
    for i, seen in enumerate(steady):
        LAYOUT.globals(seen)[[f.name for f in LAYOUT.global_fields].index("hit_ratio")] = 1e-4 * (i % 2)
    search = arm_search(LAYOUT, steady)
    assert search.std[search.features.index(Feature(("coverage", "hit_ratio")))] == LEAST_STD


def test_global_fields_are_inputs_only_below_hidden_layers_and_not_searched_as_linear_weights():
    assert not set(CONTEXT_FEATURES) & set(arm_search(LAYOUT, SEEN).features)
    search = arm_search(LAYOUT, SEEN, (4,))
    deviations = unflatten(search.first_std, scorer_shapes(len(search.features), (4,)))
    is_context = np.array([feature in CONTEXT_FEATURES for feature in search.features])
    assert is_context.any()
    np.testing.assert_array_equal(deviations["linear"] == 0.0, is_context)
    assert (deviations["hidden.0.weight"] > 0.0).all()


def test_errors_name_what_is_missing():
    with pytest.raises(HandrailError, match="no decision was seen"):
        arm_search(LAYOUT, [])
    with pytest.raises(HandrailError, match=r"needs the feature waste\*utilisation_slow"):
        arm_search(LAYOUT, SEEN, features=(COVERAGE,))
    with pytest.raises(HandrailError, match="no arm ever foresaw more than another"):
        arm_search(LAYOUT, [np.zeros_like(SEEN[0])] * 3)
