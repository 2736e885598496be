"""Novelty: conformal thresholds keep their level, the check sees what is unlike calibration, its model is data."""

from __future__ import annotations

import numpy as np
import pytest
from guard_stand import LAYOUT, Fixed, context, observe
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.policies.guards import (
    GuardConfig,
    NoveltyCalibrator,
    NoveltyConfig,
    PlausibilityConfig,
    build_guard,
    conformal_quantile,
    fit_novelty,
    fit_novelty_model,
    fit_ranges,
)
from handrail.policies.guards.checks import NoveltyCheck
from handrail.policies.interface import Feedback
from handrail.traces.errors import HandrailError

FIELDS = NoveltyConfig(global_fields=("rate_60s", "prompt_ktokens"), replica_fields=("running",), alpha=0.05)


def ordinary(count: int, seed: int = 0, rate: float = 5.0) -> list[np.ndarray]:
    """Observations in which the running requests follow the rate."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    out = []
    for _ in range(count):
        here = rate * rng.gamma(20.0, 1 / 20.0)
        out.append(observe(rate_60s=here, prompt_ktokens=rng.exponential(1.0), running=rng.poisson(4 * here, 4)))
    return out


def calibrated(config: NoveltyConfig = FIELDS, count: int = 3000) -> NoveltyConfig:
    watch = NoveltyCalibrator(Fixed(2), LAYOUT)
    for row in ordinary(count):
        assert watch.predict(row)[0] == 2
    return fit_novelty(config, LAYOUT, [watch.sample()])


CALIBRATED = calibrated()


def novel(config: NoveltyConfig, observations) -> list[str]:
    check = NoveltyCheck(config, LAYOUT)
    return [check.judge(context(x, decision=i)).reason for i, x in enumerate(observations)]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_the_conformal_quantile_is_a_score_with_enough_scores_below(scores, alpha):
    if (len(scores) + 1) * (1 - alpha) > len(scores) + 1e-9:
        with pytest.raises(HandrailError, match="calibration scores"):
            conformal_quantile(scores, alpha)
        return
    try:
        limit = conformal_quantile(scores, alpha)
    except HandrailError:  # the rank is just beyond the last score
        assert np.ceil((len(scores) + 1) * (1 - alpha)) > len(scores)
        return
    assert limit in scores
    assert np.count_nonzero(np.array(scores) <= limit) >= (len(scores) + 1) * (1 - alpha) - 1e-9


def test_the_conformal_level_holds_on_average():
    rng = np.random.default_rng(np.random.SeedSequence(1))
    beyond = [
        np.mean(rng.exponential(size=200) > conformal_quantile(rng.exponential(size=99), 0.1)) for _ in range(400)
    ]
    assert np.mean(beyond) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("scores", "alpha"), [([1.0], 0.1), ([], 0.5), ([1.0, float("nan")], 0.5), ([1.0], 1.0)])
def test_impossible_levels_are_refused(scores, alpha):
    with pytest.raises(HandrailError):
        conformal_quantile(scores, alpha)


def test_ordinary_observations_are_novel_as_often_as_the_level_says():
    reasons = novel(CALIBRATED, ordinary(4000, seed=9))
    assert np.mean([reason != "ok" for reason in reasons]) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (observe(rate_60s=5, prompt_ktokens=1, running=20), "ok"),
        (observe(rate_60s=50, prompt_ktokens=1, running=200), "outside-seen-box"),
        (observe(rate_60s=3, prompt_ktokens=1, running=36), "unlike-seen-data"),  # each alone is ordinary
        (observe(rate_60s=np.nan, prompt_ktokens=1, running=20), "outside-seen-box"),
        (observe(rate_60s=5, prompt_ktokens=1, running=np.inf), "outside-seen-box"),
    ],
)
def test_what_is_unlike_calibration_is_novel(observation, reason):
    assert novel(CALIBRATED, [observation]) == [reason]


def test_novelty_that_lasts_trips():
    config = CALIBRATED.model_copy(update={"window_decisions": 10, "trip_decisions": 4})
    check = NoveltyCheck(config, LAYOUT)
    odd, usual = observe(rate_60s=50, running=200), observe(rate_60s=5, prompt_ktokens=1, running=20)
    kinds = [check.judge(context(x)).kind for x in [odd] * 3 + [usual] * 8 + [odd] * 5]
    assert kinds == ["veto"] * 3 + ["accept"] * 8 + ["veto"] * 3 + ["trip"] * 2


def test_the_model_is_data():
    config = GuardConfig(checks=(CALIBRATED,))
    again = GuardConfig.from_json(config.to_json())
    assert again == config
    rows = ordinary(200, seed=4)
    assert novel(again.checks[0], rows) == novel(CALIBRATED, rows)
    assert GuardConfig.from_yaml(config.to_yaml()) == config


def test_without_a_model_the_guard_is_not_built():
    with pytest.raises(HandrailError, match="calibrate"):
        build_guard(GuardConfig(checks=(FIELDS,)), LAYOUT)


def test_a_model_of_other_fields_is_refused():
    with pytest.raises(ValueError, match="features"):
        NoveltyConfig(global_fields=("rate_60s",), model=CALIBRATED.model)


def test_the_distance_is_that_of_the_shrunk_covariance():
    rng = np.random.default_rng(np.random.SeedSequence(2))
    x = rng.multivariate_normal([1.0, -2.0], [[4.0, 1.5], [1.5, 1.0]], size=20_000)
    model = fit_novelty_model(x, 0.1)
    whitened = (x - np.array(model.mean)) @ np.array(model.whitening).T
    assert np.cov(whitened.T) == pytest.approx(np.eye(2), abs=0.05)
    assert model.threshold == pytest.approx(np.sqrt(-2 * np.log(0.1)), abs=0.05)  # chi of two degrees of freedom


def test_constant_features_do_not_break_the_fit():
    x = np.column_stack([np.ones(500), np.arange(500.0), np.arange(500.0)])
    model = fit_novelty_model(x, 0.05)
    assert np.isfinite(model.whitening).all()


@pytest.mark.parametrize("features", [np.ones((3, 2)), np.full((100, 2), np.nan), np.ones(100)])
def test_a_fit_needs_enough_finite_rows(features):
    with pytest.raises(HandrailError, match="novelty"):
        fit_novelty_model(features, 0.05)


def test_the_reservoir_is_bounded_uniform_and_repeats():
    def filled() -> NoveltyCalibrator:
        watch = NoveltyCalibrator(Fixed(0), LAYOUT, capacity=200, seed=5)
        for i in range(5000):
            watch.notify(Feedback(float(i), i))
            watch.predict(observe(rate_60s=i))
        return watch

    sample = filled().sample()
    at = LAYOUT.names().index("rate_60s")
    assert sample.rows.shape == (200, LAYOUT.size)
    assert sample.rows[:, at].mean() == pytest.approx(2500, abs=400)
    assert (sample.low[at], sample.high[at]) == (0, 4999)
    assert np.array_equal(filled().sample().rows, sample.rows)


def test_ranges_are_those_of_everything_seen():
    watch = NoveltyCalibrator(Fixed(0), LAYOUT, capacity=4)
    for i in range(50):
        watch.predict(observe(running=[i, 1, 2, 3], rate_60s=7))
    config = fit_ranges(PlausibilityConfig(range_fields=("running", "rate_60s")), LAYOUT, [watch.sample()])
    assert (config.range_low, config.range_high) == ((0.0, 7.0), (49.0, 7.0))
    assert fit_ranges(PlausibilityConfig(), LAYOUT, []) == PlausibilityConfig()
    with pytest.raises(HandrailError, match="nothing was observed"):
        fit_ranges(PlausibilityConfig(range_fields=("running",)), LAYOUT, [])
