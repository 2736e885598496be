"""Statistics against closed forms, brute force and scipy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from trace_samples import small_trace

from handrail.traces import RequestTrace
from handrail.traces.common.statistics import (
    fano_factor,
    interarrival_cv,
    ks_distance,
    peak_to_mean,
    wasserstein_distance,
)
from handrail.traces.llm.describe import compare_traces, describe

samples = st.lists(st.integers(0, 30) | st.floats(-100, 100), min_size=1, max_size=40)


@given(samples, samples)
def test_distances_equal_brute_force_and_scipy(x: list[float], y: list[float]):
    points = np.concatenate((x, y))
    gaps = [abs(np.mean(np.array(x) <= at) - np.mean(np.array(y) <= at)) for at in points]
    assert ks_distance(x, y) == pytest.approx(max(gaps), abs=1e-12)
    assert wasserstein_distance(x, y) == pytest.approx(scipy.stats.wasserstein_distance(x, y), abs=1e-9)


def test_distances_in_closed_form():
    assert ks_distance([1, 2, 3], [1, 2, 3]) == 0
    assert ks_distance([0, 0], [1, 1]) == 1
    assert wasserstein_distance(np.arange(100.0), np.arange(100.0) + 7) == pytest.approx(7)


def test_poisson_arrivals_have_cv_and_fano_of_one():
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(0.1, 200_000))
    assert interarrival_cv(arrival_s) == pytest.approx(1, abs=0.02)
    assert fano_factor(arrival_s, 1.0) == pytest.approx(1, abs=0.03)
    assert fano_factor(arrival_s, 60.0) == pytest.approx(1, abs=0.2)


def test_regular_arrivals_have_none():
    arrival_s = np.arange(0, 1_000, 0.25)
    assert interarrival_cv(arrival_s) == 0
    assert fano_factor(arrival_s, 1.0) == 0
    assert peak_to_mean(arrival_s, 60.0) == 1


def test_bins_are_whole_and_start_at_the_first_arrival():
    arrival_s = np.array([100.0, 100.5, 100.9, 101.0, 102.99, 103.0, 103.2])
    counts = np.array([3, 1, 1])  # 103.0 and later fall into a bin that is not whole
    assert fano_factor(arrival_s, 1.0) == pytest.approx(counts.var() / counts.mean())
    assert peak_to_mean(arrival_s, 1.0) == pytest.approx(3 / counts.mean())
    assert fano_factor(arrival_s, 3.0) is None


def test_summary():
    trace = small_trace(500)
    summary = describe(trace)
    assert summary.requests == 500
    assert summary.rate_per_s == pytest.approx(500 / trace.duration_s)
    assert summary.prompt_tokens["p99"] == np.quantile(trace.prompt_tokens, 0.99)
    assert summary.output_tokens["max"] == trace.output_tokens.max()
    assert summary.length_spearman == pytest.approx(scipy.stats.spearmanr(trace.prompt_tokens, trace.output_tokens)[0])
    assert summary.length_pearson == pytest.approx(scipy.stats.pearsonr(trace.prompt_tokens, trace.output_tokens)[0])
    assert summary.sessions == 6
    assert sum(summary.tenants.values()) == pytest.approx(1)
    assert summary.prefix_blocks is not None
    assert summary.prefix_reuse == pytest.approx(1 - 30 / summary.prefix_blocks)
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False))["content_hash"] == trace.content_hash


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_traces_have_no_statistics_rather_than_nan(n: int):
    trace = RequestTrace(np.zeros(n), [5] * n, [5] * n)
    summary = describe(trace)
    json.dumps(summary.to_json(), allow_nan=False)
    assert summary.fano_1s is None
    assert summary.interarrival_cv is None
    assert summary.rate_per_s is None


def test_comparison_of_traces():
    trace = small_trace(300)
    assert all(d.ks == 0 and d.wasserstein == 0 for d in compare_traces(trace, trace).values())
    doubled = compare_traces(trace, trace.replace(prompt_tokens=trace.prompt_tokens * 2))
    assert doubled["prompt_tokens"].tail_ratio == pytest.approx({"p90": 2, "p95": 2, "p99": 2, "p999": 2})
    assert doubled["output_tokens"].ks == 0
    assert doubled["prompt_tokens"].wasserstein == pytest.approx(trace.prompt_tokens.mean())
    assert "interarrival_s" not in compare_traces(trace.head(1), trace)
