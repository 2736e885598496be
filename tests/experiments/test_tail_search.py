"""The training score: relative to the fallback on the same traffic, and no bargain of one tail for the other."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from handrail.envs.llm_serving import layout_for
from handrail.experiments.domains.llm import DOMAIN, LLMScenario
from handrail.experiments.scenario import prepare
from handrail.experiments.tail_search import (
    LOSS_WEIGHT,
    LOST_LOG_RATIO,
    TAIL_QUANTILES,
    NetworkScore,
    ScorerScore,
    score_on,
    traffic_windows,
    window_score,
)
from handrail.policies.learning.features import ScorerSearch
from handrail.policies.network import Feature
from handrail.traces import RequestTrace
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(2)
DRAIN = (Feature(("drain_s",)), Feature(("prefill_s",)))


def small_trace(n: int = 900, seed: int = 0) -> RequestTrace:
    rng = np.random.default_rng(seed)
    return RequestTrace(
        arrival_s=np.cumsum(rng.exponential(0.25, n)),
        prompt_tokens=rng.integers(100, 3000, n),
        output_tokens=rng.integers(1, 400, n),
        name="small",
    )


def prepared(trace: RequestTrace, **fields: object):
    return prepare(trace, LLMScenario.model_validate({"split": "train", "replicas": "h100:1,a100:1", **fields}))


def linear_score(windows, per_iteration: int = 0) -> ScorerScore:
    search = ScorerSearch(DRAIN, (), np.zeros(2), np.ones(2), np.array([-1.0, -1.0]), np.ones(2))
    return ScorerScore(search, LAYOUT, tuple(windows), per_iteration)


def test_equal_tails_score_0_and_shorter_ones_less():
    base = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert window_score(base, base) == 0.0
    assert window_score(base * 0.9, base) == pytest.approx(np.log(0.9))


def test_a_loss_in_one_tail_is_not_bought_with_the_other():
    base = np.ones((2, 3))
    traded = np.array([[0.9] * 3, [1.05] * 3])
    expected = (np.log(0.9) + np.log(1.05)) / 2 + LOSS_WEIGHT * np.log(1.05)
    assert window_score(traded, base) == pytest.approx(expected)
    assert window_score(traded, base) > 0


def test_lost_tails_count_as_long_and_never_as_undefined():
    base = np.ones((2, 3))
    lost = np.array([[1.0, 1.0, np.inf], [1.0, 1.0, 1.0]])
    assert window_score(lost, base) == pytest.approx(LOST_LOG_RATIO / 6 + LOSS_WEIGHT * LOST_LOG_RATIO / 3)
    assert window_score(lost, lost) == 0.0
    assert window_score(base, lost) < 0


def test_tails_are_of_measured_requests():
    n = 200
    results = SimpleNamespace(
        arrival_s=np.zeros(n),
        first_token_s=np.arange(n, dtype=float),
        finish_s=np.arange(n, dtype=float) * 2,
        output_tokens=np.full(n, 2),
        status=np.zeros(n, np.int8),
        measured=np.arange(n) < 101,
    )
    np.testing.assert_allclose(DOMAIN.tails(results, TAIL_QUANTILES), [[98.0, 99.0, 99.5], [196.0, 198.0, 199.0]])


def test_the_fallback_itself_scores_0():
    trace = small_trace()
    windows = traffic_windows(trace, prepared(trace), "expected-drain", n=1, seed=0)
    assert linear_score(windows)((np.array([-1.0, -1.0]), 0)) == 0.0
    assert linear_score(windows)((np.array([1.0, 1.0]), 0)) > 0.5


def test_windows_are_drawn_anew_where_the_load_is_raised_by_random_shifts():
    trace = small_trace()
    raised = prepared(trace, rate=2.0, load_by="superpose")
    windows = traffic_windows(trace, raised, "expected-drain", n=3, seed=4, max_items=300)
    assert len({w.trace.content_hash for w in windows}) == 3
    assert all(len(w.trace) == 300 and w.trace.arrival_s[0] == 0 for w in windows)
    again = traffic_windows(trace, raised, "expected-drain", n=3, seed=4, max_items=300)
    assert [w.trace.content_hash for w in windows] == [w.trace.content_hash for w in again]


def test_windows_that_are_equal_are_replayed_once():
    trace = small_trace(300)
    assert len(traffic_windows(trace, prepared(trace), "expected-drain", n=5, seed=0)) == 1


def test_an_iteration_uses_its_windows_in_turn_for_every_candidate():
    trace = small_trace()
    raised = prepared(trace, rate=2.0, load_by="superpose")
    windows = traffic_windows(trace, raised, "expected-drain", n=3, seed=4, max_items=250)
    vector = np.array([-1.0, 1.0])
    each = [score_on(w, linear_score(windows).network(vector)) for w in windows]
    assert len(set(each)) == 3
    score = linear_score(windows, per_iteration=2)
    assert score((vector, 0)) == pytest.approx(np.mean([each[0], each[1]]))
    assert score((vector, 1)) == pytest.approx(np.mean([each[2], each[0]]))
    assert linear_score(windows)((vector, 7)) == pytest.approx(np.mean(each))


def test_scores_can_be_sent_to_worker_processes():
    trace = small_trace(300)
    windows = traffic_windows(trace, prepared(trace), "expected-drain", n=1, seed=0)
    score, vector = linear_score(windows), np.array([-1.0, -3.0])
    sent = pickle.loads(pickle.dumps(score))
    assert sent((vector, 0)) == score((vector, 0))
    networks = pickle.loads(pickle.dumps(NetworkScore(tuple(windows))))
    assert networks(score.network(vector)) == score((vector, 0))


def test_arguments_out_of_range_are_clear_errors():
    trace = small_trace(300)
    with pytest.raises(HandrailError, match="--windows and --window-requests"):
        traffic_windows(trace, prepared(trace), "expected-drain", n=0, seed=0)
