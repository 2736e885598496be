"""Metrics against hand-made columns and NumPy."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.envs.common import tails
from handrail.envs.llm_serving import metrics
from handrail.envs.llm_serving.metrics import Objective


class Gaps:
    """Pooled gaps as a plain array."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=float)
        self.count = len(self.values)

    def quantile(self, qs):
        return np.quantile(self.values, qs)

    def mean(self):
        return float(np.mean(self.values))

    def max(self):
        return float(np.max(self.values))


def columns(**changes):
    """Four requests: a plain one, one of a single token, a rejected one, one left unfinished after 3 of 5 tokens."""
    nan = math.nan
    values = {
        "arrival_s": np.array([0.0, 1.0, 2.0, 3.0]),
        "output_tokens": np.array([5, 1, 4, 5]),
        "scheduled_s": np.array([0.25, 1.0, nan, 3.5]),
        "first_token_s": np.array([0.5, 3.0, nan, 4.0]),
        "finish_s": np.array([2.5, 3.0, nan, nan]),
        "tokens_generated": np.array([5, 1, 0, 3]),
        "preemptions": np.array([0, 2, 0, 1]),
        "status": np.array([0, 0, 1, 2], dtype=np.int8),
        "measured": np.ones(4, dtype=bool),
        "token_gaps": Gaps([0.5, 0.5, 0.5, 0.5, 0.1, 0.1]),
    }
    return SimpleNamespace(**{**values, **changes})


def test_latencies_of_each_request_follow_from_its_timestamps():
    results = columns()
    inf = math.inf
    assert metrics.ttft_s(results).tolist() == [0.5, 2.0, inf, inf]
    assert metrics.e2e_s(results).tolist() == [2.5, 2.0, inf, inf]
    assert metrics.queueing_s(results).tolist() == [0.25, 0.0, inf, inf]
    assert metrics.tpot_s(results).tolist() == [0.5, 0.0, inf, inf]


def test_a_request_attains_only_if_it_finished_within_both_limits():
    results = columns()
    assert metrics.attained(results, Objective(slo_ttft_s=2.0, slo_tbt_s=0.5)).tolist() == [True, True, False, False]
    assert metrics.attained(results, Objective(slo_ttft_s=1.0, slo_tbt_s=0.5)).tolist() == [True, False, False, False]
    assert metrics.attained(results, Objective(slo_ttft_s=2.0, slo_tbt_s=0.4)).tolist() == [False, True, False, False]


def test_all_metrics_of_the_four_requests():
    found = metrics.compute_metrics(columns(), Objective(slo_ttft_s=2.0, slo_tbt_s=0.5))
    assert found["measured_requests"] == 4
    assert found["lost"] == {"rejected": 1, "unfinished": 1}
    assert found["measured_span_s"] == 3.0
    assert found["slo_attainment"] == 0.5
    assert found["goodput_rps"] == pytest.approx(2 / 3)
    assert found["throughput_rps"] == pytest.approx(2 / 3)
    assert found["output_tokens_per_s"] == pytest.approx(9 / 3)
    assert found["preemptions"] == 3
    assert found["ttft_s"] == {
        "mean": None, "p50": None, "p90": None, "p95": None, "p99": None, "p999": None, "max": None,
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_a_quantile_is_null_exactly_where_it_falls_among_the_lost():
    values = np.array([1.0, 2.0, 3.0, math.inf])
    assert tails.quantiles(values, [0.0, 0.5, 2 / 3, 0.7, 1.0]) == [1.0, 2.5, 3.0, math.inf, math.inf]
    assert metrics.summarize(values)["p50"] == 2.5
    assert metrics.summarize(values)["p90"] is None
    assert metrics.summarize(values)["mean"] is None


def test_the_missing_gaps_of_lost_requests_count_as_infinite():
    results = columns()
    assert metrics.missing_gaps(results) == 3 + 2
    found = metrics.summarize_gaps(results.token_gaps, 5)
    pooled = np.array([0.1, 0.1, 0.5, 0.5, 0.5, 0.5] + [math.inf] * 5)
    assert found["p50"] == tails.quantiles(pooled, [0.5])[0] == 0.5
    assert found["p90"] is None
    assert found["max"] is None


def test_only_measured_requests_count():
    results = columns(measured=np.array([True, False, False, False]))
    found = metrics.compute_metrics(results, Objective())
    assert found["measured_requests"] == 1
    assert found["lost"] == {"rejected": 0, "unfinished": 0}
    assert found["measured_span_s"] == 2.5
    assert found["e2e_s"]["max"] == 2.5


def test_single_tokens_have_no_gap_and_stay_out_of_tpot():
    results = columns(
        status=np.zeros(4, dtype=np.int8),
        finish_s=np.array([2.5, 3.0, 4.0, 8.0]),
        first_token_s=np.array([0.5, 3.0, 3.0, 4.0]),
    )
    assert metrics.compute_metrics(results, Objective())["tpot_s"]["p50"] == 0.5


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="no request is measured"):
        metrics.compute_metrics(columns(measured=np.zeros(4, dtype=bool)), Objective())


@given(
    st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=60),
    st.integers(min_value=0, max_value=20),
    st.lists(st.integers(min_value=0, max_value=1000).map(lambda k: k / 1000), min_size=1, max_size=5),
)
def test_quantiles_equal_numpy_wherever_numpy_has_an_answer(finite, n_lost, qs):
    values = np.array(finite + [math.inf] * n_lost)
    huge = np.array(finite + [1e300] * n_lost)
    for ours, numpys in zip(tails.quantiles(values, qs), np.quantile(huge, qs), strict=True):
        assert ours == numpys if numpys <= 1e6 else math.isinf(ours)


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1, max_size=60), st.integers(min_value=0, max_value=20))
def test_pooled_gaps_with_missing_ones_equal_the_plain_pool(finite, n_missing):
    pool = metrics.summarize(np.array(finite + [math.inf] * n_missing))
    found = metrics.summarize_gaps(Gaps(finite), n_missing)
    for key, value in pool.items():
        assert found[key] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12))
