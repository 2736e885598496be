"""Normalisation of the scheduling scorer's inputs, and that its search starts at SJF with EASY backfilling."""

from __future__ import annotations

import numpy as np
import pytest
from job_workload import WINDOW, easy_choice, observations
from synthetic_cluster import job, queue

from handrail.envs.cluster.layout import layout_for
from handrail.policies.learning.features import ScorerSearch
from handrail.policies.learning.job_features import (
    CONTEXT_FEATURES,
    ESTIMATE,
    FALLBACK_FEATURES,
    SCHEDULING_FEATURES,
    job_search,
    search_from,
)
from handrail.policies.network import Feature, FeatureMap, ReplicaScorer, scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(WINDOW)
SMALL = layout_for(4)


def start_scorer(search: ScorerSearch, layout=LAYOUT) -> ReplicaScorer:
    tensors = unflatten(search.start, scorer_shapes(len(search.features), search.hidden))
    return ReplicaScorer(layout, search.features, search.mean, search.std, tensors)


@pytest.fixture(scope="module")
def seen() -> list[np.ndarray]:
    return observations(600, seed=0)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_the_search_starts_at_sjf_with_easy_backfilling_on_a_simulators_decisions(seen, hidden: tuple[int, ...]):
    scorer = start_scorer(job_search(LAYOUT, seen, hidden))
    fresh = observations(600, seed=1)
    assert len(fresh) > 800
    assert np.mean([easy_choice(o) == WINDOW for o in fresh]) > 0.2
    assert np.mean([easy_choice(o) > 0 and easy_choice(o) < WINDOW for o in fresh]) > 0.1
    assert np.mean([scorer.act(o) == easy_choice(o) for o in fresh]) > 0.995


@pytest.mark.parametrize("n", [1, 16, 100])
def test_the_start_rules_any_window(seen, n: int):
    scorer = start_scorer(job_search(LAYOUT, seen), layout_for(n))
    shortest = job(estimate_s=5.0)
    jobs = [job(estimate_s=50.0)] * (n - 1) + [shortest]
    assert scorer.act(queue(*jobs, layout=layout_for(n))) == n - 1


def test_jobs_that_delay_the_head_come_after_waiting_and_empty_slots_never(seen):
    scorer = start_scorer(job_search(LAYOUT, seen), SMALL)
    head = job(fits=0.0, estimate_s=10.0)
    assert scorer.act(queue(head, job(estimate_s=9.0, head_delay_s=60.0), layout=SMALL)) == 4
    assert scorer.act(queue(head, job(estimate_s=9e4), layout=SMALL)) == 1
    assert scorer.act(queue(head, job(head_delay_s=900.0), layout=SMALL, may_wait=False)) == 1


def test_the_overdue_job_whose_turn_it_is_goes_first(seen):
    scorer = start_scorer(job_search(LAYOUT, seen), SMALL)
    assert not any(LAYOUT.replica(o, "overdue").any() for o in seen)
    late = job(overdue=1.0, estimate_s=9e4)
    assert scorer.act(queue(job(estimate_s=1.0), late, layout=SMALL)) == 1
    blocked = job(overdue=1.0, fits=0.0)
    passing = job(overdue=1.0, overdue_passed=1.0, estimate_s=1.0)
    assert scorer.act(queue(blocked, passing, layout=SMALL)) == 4
    assert scorer.act(queue(blocked, passing, job(overdue_passed=1.0), layout=SMALL)) == 2


def test_features_are_normalised_over_legal_choices(seen):
    search = job_search(LAYOUT, seen, (4,))
    rows_of = FeatureMap(LAYOUT, search.features)
    rows = np.concatenate([rows_of(o)[LAYOUT.replica(o, "up") > 0] for o in seen])
    z = (rows - search.mean) / search.std
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-9)
    varied = np.array([f not in FALLBACK_FEATURES or f.fields[0] != "overdue" for f in search.features])
    np.testing.assert_allclose(z.std(axis=0)[varied], 1.0)
    assert search.start[search.features.index(ESTIMATE)] == -1.0
    assert search.first_std.shape == search.start.shape
    assert (search.first_std > 0).all()


def test_what_never_differs_is_left_out_and_context_is_for_hidden_layers(seen):
    linear, deep = job_search(LAYOUT, seen), job_search(LAYOUT, seen, (4,))
    assert set(FALLBACK_FEATURES) <= set(linear.features)
    gone = set(SCHEDULING_FEATURES) - set(linear.features)
    assert gone == {Feature(("tenant_share",)), Feature(("overdue_passed",), "log1p")}
    assert set(deep.features) - set(linear.features) == set(CONTEXT_FEATURES)


@pytest.mark.parametrize("hidden", [(), (4, 3)])
def test_a_search_can_go_on_from_a_trained_scorer(seen, hidden: tuple[int, ...]):
    search = job_search(LAYOUT, seen, hidden)
    rng = np.random.default_rng(0)
    shapes = scorer_shapes(len(search.features), hidden)
    tensors = unflatten(4.0 * (search.start + search.first_std * rng.standard_normal(len(search.start))), shapes)
    trained = ReplicaScorer(LAYOUT, search.features, search.mean, search.std, tensors)
    resumed = search_from(search, tensors)
    assert abs(resumed.start[search.features.index(ESTIMATE)]) == pytest.approx(1.0)
    assert [start_scorer(resumed).act(o) for o in seen] == [trained.act(o) for o in seen]


def test_nothing_to_learn_from_is_a_clear_error():
    with pytest.raises(HandrailError, match="no decision was seen"):
        job_search(SMALL, [])
    with pytest.raises(HandrailError, match="the same estimated run time"):
        job_search(SMALL, [queue(job(), job(), layout=SMALL, may_wait=False)] * 3)
    with pytest.raises(HandrailError, match=r"needs the feature log1p\(head_delay_s\)"):
        job_search(SMALL, [queue(job(), layout=SMALL)], features=(ESTIMATE,))
