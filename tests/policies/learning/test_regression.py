"""Ridge regression with costs that are known only to be large."""

from __future__ import annotations

import numpy as np

from handrail.policies.learning.regression import Samples, best_ridge, fit

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((400, 3))
WEIGHTS = np.array([1.0, -2.0, 0.5])
NONE = np.zeros(3)


def samples(costs: np.ndarray, most: float = np.inf, inputs: np.ndarray = INPUTS) -> Samples:
    return Samples(inputs, costs, np.full(len(costs), most))


def test_without_noise_the_weights_are_found():
    np.testing.assert_allclose(fit(samples(INPUTS @ WEIGHTS), 1e-9, NONE), WEIGHTS, rtol=1e-6)


def test_large_costs_are_a_floor_however_large():
    costs = INPUTS @ WEIGHTS
    blown_up = np.where(costs > 1.0, 1000.0 * costs, costs)
    found = fit(samples(blown_up, most=1.0), 1e-9, NONE)
    np.testing.assert_allclose(found, WEIGHTS, rtol=0.02)
    assert np.abs(fit(samples(blown_up), 1e-9, NONE) - WEIGHTS).max() > 100.0
    assert samples(blown_up, most=1.0).error(WEIGHTS) < 1e-20
    assert samples(blown_up, most=1.0).error(-WEIGHTS) > 1.0


def test_a_strong_ridge_leaves_the_prior_in_its_best_size():
    costs = INPUTS @ (3.0 * WEIGHTS)
    np.testing.assert_allclose(fit(samples(costs), 1e6, WEIGHTS), 3.0 * WEIGHTS, rtol=1e-3)
    np.testing.assert_allclose(fit(samples(costs), 1e6, NONE), NONE, atol=1e-4)


def test_an_input_that_is_always_0_has_weight_0():
    inputs = INPUTS * [1.0, 0.0, 1.0]
    found = fit(samples(inputs @ WEIGHTS, inputs=inputs), 1e-9, NONE)
    np.testing.assert_allclose(found, [1.0, 0.0, 0.5], rtol=1e-6)


def test_cross_validation_trusts_the_prior_where_there_is_only_noise_and_the_data_where_there_is_none():
    ridges = (1e-6, 1e-2, 10.0)
    rows = [slice(k, k + 20) for k in range(0, 400, 20)]
    clear = [samples((INPUTS @ WEIGHTS)[part], inputs=INPUTS[part]) for part in rows]
    assert best_ridge(clear, ridges, NONE) == 1e-6
    noise = RNG.standard_normal(400) * 10.0
    prior = np.array([0.0, 0.0, 1.0])
    noisy = [samples((INPUTS @ prior + noise)[part], inputs=INPUTS[part]) for part in rows]
    assert best_ridge(noisy, ridges, prior) == 10.0
    assert best_ridge(clear[:1], ridges, NONE) == 10.0
