"""Modal estimates: few round values for most jobs, none below its run time, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import job_traces, small_jobs

from handrail.traces import JobTrace, TraceError, load_job_trace
from handrail.traces.cluster.estimate_noise import (
    HEAD_SHARE,
    POPULARITY,
    estimate_distribution,
    modal_estimates,
    popular_values,
)
from handrail.traces.cluster.lublin import generate
from handrail.traces.cluster.lublin_config import LublinConfig

HOUR_S = 3_600.0


@pytest.fixture(scope="module")
def lublin() -> JobTrace:
    return generate(LublinConfig(jobs=5_000), 3)


def test_popular_values_are_round_and_begin_with_the_largest():
    values = popular_values(18 * HOUR_S)
    assert len(values) == len(set(values.tolist())) == 20
    assert values[0] == 18 * HOUR_S == values.max()
    assert {300, 900, 1_800, 3_600, 2 * 3_600, 12 * 3_600} <= set(values.tolist())
    assert (values % 300 == 0).all()
    assert (np.diff(values[1:]) > 0).all()
    assert 90 * HOUR_S in popular_values(100 * HOUR_S)  # filled up by the coarsest multiples from the top
    assert len(popular_values(HOUR_S)) < 20  # too short a limit for 20 round values


def test_ranks_of_popularity_are_permutations():
    for ranks in POPULARITY:
        assert sorted(ranks) == list(range(1, 21))


@pytest.mark.parametrize("seed", range(6))
def test_twenty_values_stand_for_89_percent(seed: int):
    values, shares = estimate_distribution(20_000, 36 * HOUR_S, np.random.default_rng(seed))
    assert shares.sum() == pytest.approx(1)
    assert np.sort(shares)[-20:].sum() == pytest.approx(HEAD_SHARE, abs=0.002)
    assert shares[np.isin(values, popular_values(36 * HOUR_S))].sum() == pytest.approx(HEAD_SHARE)
    assert 100 < len(values) < 140  # 90 values for 10,000 jobs, 340 for 70,000
    assert (np.diff(values) > 0).all()
    assert (values % 60 == 0).all()


@settings(max_examples=60, deadline=None)
@given(job_traces(), st.integers(0, 5))
def test_never_below_the_run_time(trace: JobTrace, seed: int):
    noisy = modal_estimates(trace, seed)
    ends = np.isfinite(trace.run_s)
    assert (noisy.estimate_s[ends] >= trace.run_s[ends]).all()
    assert np.isnan(noisy.estimate_s[~ends]).all()


def test_shares_hold_in_a_whole_trace(lublin: JobTrace):
    noisy = modal_estimates(lublin, 1)
    counts = np.sort(np.unique(noisy.estimate_s, return_counts=True)[1])
    assert counts[-20:].sum() / len(lublin) == pytest.approx(HEAD_SHARE, abs=0.02)
    # The most popular value has what is left when the other 19 have theirs: 89 % less 67.3 %.
    assert counts[-1] / len(lublin) == pytest.approx(0.217, abs=0.005)
    accuracy = lublin.run_s / noisy.estimate_s
    assert 0.05 < accuracy.mean() < 0.5
    assert (accuracy == 1).mean() < 0.02


def test_only_estimates_change_and_the_seed_decides(lublin: JobTrace):
    noisy = modal_estimates(lublin, 1)
    assert noisy.replace(estimate_s=lublin.estimate_s).content_hash == lublin.content_hash
    assert noisy.content_hash == modal_estimates(lublin, 1).content_hash != modal_estimates(lublin, 2).content_hash
    assert (noisy.notes["estimates"], noisy.notes["estimates_seed"]) == ("modal", 1)


def test_long_jobs_that_outnumber_the_long_estimates():
    trace = small_jobs(200, run_s=np.full(200, 9.5 * HOUR_S))
    noisy = modal_estimates(trace, 0, max_estimate_s=10 * HOUR_S)
    assert noisy.estimate_s.min() >= 9.5 * HOUR_S
    assert (noisy.estimate_s == 10 * HOUR_S).mean() > 0.2
    assert noisy.estimate_s.max() == 10 * HOUR_S


def test_limits_are_checked(lublin: JobTrace):
    longest = float(lublin.run_s.max())
    assert modal_estimates(lublin, 0).estimate_s.max() >= longest
    assert modal_estimates(lublin, 0, 200 * HOUR_S).estimate_s.max() == 200 * HOUR_S
    for limit in (longest - 1, 60.0, float("nan"), float("inf")):
        with pytest.raises(TraceError, match="max_estimate_s"):
            modal_estimates(lublin, 0, limit)
    with pytest.raises(TraceError, match="seed"):
        modal_estimates(lublin, -1)
    assert len(modal_estimates(lublin.head(0), 0)) == 0


def test_real_traces_get_estimates(shared_data: Path):
    for name in ("lublin_1_256procs.swf", "NASA-iPSC-1993-3.1-cln.swf.zip"):
        trace = load_job_trace(shared_data / "traces" / "cluster" / name)
        noisy = modal_estimates(trace, 7)
        counts = np.sort(np.unique(noisy.estimate_s, return_counts=True)[1])
        assert (noisy.estimate_s >= trace.run_s).all()
        assert counts[-20:].sum() / len(trace) == pytest.approx(HEAD_SHARE, abs=0.01)
