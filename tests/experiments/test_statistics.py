"""Intervals against SciPy and against their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from handrail.experiments.statistics import (
    bootstrap_ratio_of_sums,
    geometric_mean_ratio,
    paired_mean_difference,
    simultaneous_log_ratios,
    student_t_quantile,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 30, 1000])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.3, 0.5, 0.9, 0.975, 0.9995])
def test_t_quantiles_are_scipys(probability, degrees):
    assert student_t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_t_quantiles_that_do_not_exist_are_refused(probability, degrees):
    with pytest.raises(ValueError, match="no t quantile"):
        student_t_quantile(probability, degrees)


def test_mean_difference_is_the_paired_t_interval():
    ours, theirs = [1.0, 2.0, 4.0, 3.0], [1.5, 2.1, 4.5, 4.0]
    found = paired_mean_difference(ours, theirs)
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.replicates == 4


def test_pairing_removes_what_windows_have_in_common():
    rng = np.random.default_rng(1)
    window = rng.lognormal(0.0, 2.0, size=8)
    found = geometric_mean_ratio(window * 0.9 * rng.lognormal(0, 0.01, 8), window)
    assert found.estimate == pytest.approx(0.9, rel=0.02)
    assert found.high < 0.95
    assert found.excludes(1.0)


def test_one_window_has_an_estimate_and_no_interval():
    found = geometric_mean_ratio([2.0], [4.0])
    assert found.estimate == pytest.approx(0.5)
    assert found.low is None
    assert not found.excludes(1.0)


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([], []), ([np.inf], [1.0]), ([0.0], [1.0])])
def test_pairs_that_have_no_ratio_are_refused(ours, theirs):
    with pytest.raises(ValueError, match=r"pairs|positive"):
        geometric_mean_ratio(ours, theirs)


def test_mean_difference_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        window = rng.normal(0, 5, size=6)
        found = paired_mean_difference(window + 1.0 + rng.normal(0, 1, 6), window + rng.normal(0, 1, 6))
        hits += not found.excludes(1.0)
    assert 0.92 <= hits / 400 <= 0.98


def test_ratio_of_sums_weighs_windows_by_size():
    found = bootstrap_ratio_of_sums([1.0, 30.0], [2.0, 30.0])
    assert found.estimate == pytest.approx(31 / 32)
    assert found.low == 0.5
    assert found.high == 1.0


def test_ratio_of_sums_is_the_same_each_time_and_moves_with_the_seed():
    rng = np.random.default_rng(3)
    top, bottom = rng.random(9), 1 + rng.random(9)
    assert bootstrap_ratio_of_sums(top, bottom, seed=1) == bootstrap_ratio_of_sums(top, bottom, seed=1)
    assert bootstrap_ratio_of_sums(top, bottom, seed=1) != bootstrap_ratio_of_sums(top, bottom, seed=2)


def test_intervals_that_hold_at_once_are_wider_than_single_ones():
    ratios = np.random.default_rng(4).lognormal(0.0, 0.1, size=(12, 20))
    together = simultaneous_log_ratios(ratios)
    alone = [simultaneous_log_ratios(row[None, :])[0] for row in ratios]
    assert np.mean([t.high / t.low for t in together]) > 1.02 * np.mean([a.high / a.low for a in alone])
    assert [t.estimate for t in together] == pytest.approx([a.estimate for a in alone])


def test_ratios_without_replicates_are_refused():
    with pytest.raises(ValueError, match="replicates"):
        simultaneous_log_ratios([[1.0]])
