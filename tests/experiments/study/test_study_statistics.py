"""The study's statistics, on replicates whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.experiments.statistics import log_counts, max_t_intervals, pooled_ratio, ratio_of_cell_sums
from handrail.experiments.statistics.pooled import BIN_WIDTH, BINS, counted_quantile
from handrail.experiments.statistics.replicate_weights import replicate_weights


@pytest.mark.parametrize(("replicates", "least"), [(4, 0.93), (12, 0.90)])
def test_max_t_intervals_hold_for_all_cells_together(replicates, least):
    """Few replicates: Sidak's t; many: the bootstrap. Cells of a group share half of their noise."""
    rng = np.random.default_rng(7)
    cells, rounds, covered = 10, 150, 0
    truth = np.linspace(-0.2, 0.2, cells)
    for _ in range(rounds):
        shared = rng.normal(size=(2, replicates))
        logs = [truth[k] + 0.1 * (rng.normal(size=replicates) + shared[k % 2]) / np.sqrt(2) for k in range(cells)]
        found = max_t_intervals(logs, [k % 2 for k in range(cells)], resamples=400)
        covered += all(i.low <= np.exp(t) <= i.high for i, t in zip(found, truth, strict=True))  # type: ignore[operator]
    assert covered / rounds >= least


def test_intervals_of_single_cells_would_not():
    """The same noise with an interval a cell of its own level misses some cell far too often."""
    rng = np.random.default_rng(3)
    rounds, missed = 200, 0
    for _ in range(rounds):
        found = [max_t_intervals([rng.normal(0.0, 0.1, 5)], ["a"])[0] for _ in range(10)]
        missed += not all(i.low <= 1.0 <= i.high for i in found)  # type: ignore[operator]
    assert missed / rounds > 0.25


def test_one_replicate_gives_no_interval():
    (found,) = max_t_intervals([[0.5]], ["a"])
    assert (found.low, found.high) == (None, None)
    assert found.estimate == pytest.approx(np.exp(0.5))


def test_a_lost_log_ratio_is_refused():
    with pytest.raises(ValueError, match="finite"):
        max_t_intervals([[0.1, np.inf]], ["a"])


def test_counts_give_quantiles_to_half_a_bin():
    values = np.random.default_rng(1).lognormal(0.0, 1.0, 40_000)
    counts = log_counts(values, 2.0).astype(np.float64)
    for q in (0.5, 0.99, 0.999):
        found = float(counted_quantile(counts, q))
        assert found == pytest.approx(np.quantile(values, q) / 2.0, rel=2 * BIN_WIDTH)
    assert counts.shape == (BINS,)


def test_lost_items_push_a_pooled_tail_to_infinity():
    fine = np.stack([log_counts(np.ones(1000), 1.0)] * 2)
    lossy = np.stack([log_counts(np.append(np.ones(980), np.full(20, np.inf)), 1.0)] * 2)
    assert np.isinf(pooled_ratio([lossy], [fine], ["a"]).estimate)


def test_every_cell_weighs_the_same_in_a_pool():
    """A small cell ten times worse, beside a large one that is alike: half of the pool is ten times worse."""
    rng = np.random.default_rng(0)
    large, small = rng.exponential(size=(2, 50_000)), rng.exponential(size=(2, 500))
    count = lambda rows, factor: np.stack([log_counts(factor * row, 1.0) for row in rows])  # noqa: E731
    ours, theirs = [count(large, 1.0), count(small, 10.0)], [count(large, 1.0), count(small, 1.0)]
    found = pooled_ratio(ours, theirs, ["a", "b"], resamples=200)
    both = np.quantile(10.0 * rng.exponential(size=200_000), 0.98) / np.quantile(rng.exponential(size=200_000), 0.99)
    assert found.estimate == pytest.approx(both, rel=0.2)
    assert found.low is not None
    assert found.low <= found.estimate


def test_a_pooled_interval_covers_the_truth():
    rng = np.random.default_rng(11)
    rounds, covered = 30, 0
    for _ in range(rounds):
        level = rng.normal(0.0, 0.15, size=8)  # a replicate's own level, shared by both arms
        theirs = [np.stack([log_counts(np.exp(x) * rng.exponential(size=2000), 4.6) for x in level])]
        ours = [np.stack([log_counts(1.1 * np.exp(x) * rng.exponential(size=2000), 4.6) for x in level])]
        found = pooled_ratio(ours, theirs, ["a"], resamples=120)
        covered += found.low <= 1.1 <= found.high  # type: ignore[operator]
    assert covered / rounds > 0.8


def test_gain_retained_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    found = ratio_of_cell_sums([[9.0, 9.0], [0.0, 0.0]], [[10.0, 10.0], [1.0, 1.0]], ["a", "b"])
    assert found.estimate == pytest.approx(9.0 / 11.0)
    assert (found.low, found.high) == pytest.approx((9.0 / 11.0, 9.0 / 11.0))


def test_positive_parts_are_taken_after_the_mean_of_a_cell():
    tops, bottoms = [[3.0, -1.0], [-5.0, -5.0]], [[4.0, 4.0], [2.0, 2.0]]
    found = ratio_of_cell_sums(tops, bottoms, ["a", "b"], positive_parts=True)
    assert found.estimate == pytest.approx(1.0 / 6.0)


def test_sums_of_nothing_are_refused():
    with pytest.raises(ValueError, match="cells"):
        ratio_of_cell_sums([], [], [])
    with pytest.raises(ValueError, match="sum to 0"):
        ratio_of_cell_sums([[1.0]], [[0.0]], ["a"])


def test_cells_of_one_group_are_drawn_alike():
    first, second, other = replicate_weights(["a", "a", "b"], [5, 5, 5], 50, seed=2)
    assert (first == second).all()
    assert (first != other).any()
    assert first.sum(axis=1) == pytest.approx(np.ones(50))
