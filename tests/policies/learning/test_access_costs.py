"""What accesses cost, as it accrues and in the end."""

from __future__ import annotations

import numpy as np
import pytest
from prefetch_toy import CACHE, two_tenants

from handrail.envs.prefetch import FIRST_USE, HIT, PrefetchSimulator
from handrail.policies.learning.access_costs import CostCurve, CostMeter, CostWeights, cost_curve, window_simulator
from handrail.traces.errors import HandrailError

TRACE = two_tenants(3000, seed=4)


def run_to_the_end(simulator: PrefetchSimulator, arm: int) -> None:
    while simulator.advance() is not None:
        simulator.apply(arm)


@pytest.mark.parametrize("per_tenant", [True, False])
def test_in_the_end_the_cost_is_that_of_the_results(per_tenant: bool):
    config = CACHE.model_copy(update={"per_tenant": per_tenant})
    simulator = PrefetchSimulator(config, TRACE, decide="policy")
    meter = CostMeter(simulator, CostWeights(bytes=0.5, tail=0.25))
    run_to_the_end(simulator, 1)
    results = simulator.results()
    latency = results.access_s / config.unloaded_miss_s
    waited = ~np.isin(results.outcome, (HIT, FIRST_USE))
    squares = np.where(waited, latency**2, 0.0)
    each = latency + 0.25 * squares
    expected = np.bincount(results.tenant, weights=each)
    found = meter.costs() - 0.5 * _fetches(simulator)
    if not per_tenant:
        expected, found = expected.sum(keepdims=True), meter.costs() - 0.5 * _fetches(simulator).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_array_equal(meter.positions(), np.bincount(TRACE.tenant) if per_tenant else [len(TRACE)])


def _fetches(simulator: PrefetchSimulator) -> np.ndarray:
    """Demand fetches and prefetches of each tenant; all objects are of one size."""
    return np.array([t.misses + t.issued - t.dropped for t in simulator.counters], dtype=float)


def test_cost_never_falls_and_waiting_counts_as_it_goes_by():
    simulator = PrefetchSimulator(CACHE, TRACE, decide="policy")
    meter = CostMeter(simulator, CostWeights())
    seen = [meter.costs()]
    point = simulator.advance()
    while point is not None:
        seen.append(meter.costs())
        simulator.apply(2)
        point = simulator.advance()
    assert (np.diff(seen, axis=0) >= 0.0).all()
    assert (seen[-1] > 0.0).all()


def test_a_meter_reads_what_a_fork_has_put_away():
    trace = two_tenants(12_000, seed=4)
    simulator, alone = (PrefetchSimulator(CACHE, trace, decide="policy") for _ in range(2))
    weights = CostWeights(bytes=0.0, tail=1.0)
    meter = CostMeter(simulator, weights)
    expected = CostMeter(alone, weights)
    read, sealed = 0, 0
    while (point := simulator.advance()) is not None:
        alone.advance()
        if point.decision % 7 == 3:
            simulator.fork()
            sealed = simulator.engine.missed_rows.sealed_length
        if point.decision % 11 == 5:
            read += 1
            np.testing.assert_array_equal(meter.costs(), expected.costs())
        simulator.apply(1)
        alone.apply(1)
    assert alone.advance() is None
    np.testing.assert_array_equal(meter.costs(), expected.costs())
    assert read > 3
    assert sealed > 0


def test_a_curve_ends_where_the_meter_does_and_goes_straight_between_marks():
    simulator = window_simulator(TRACE, CACHE, (1000, 2000))
    curve = cost_curve(simulator, CostWeights(), lambda point: 0)
    again = window_simulator(TRACE, CACHE, (1000, 2000))
    meter = CostMeter(again, CostWeights())
    run_to_the_end(again, 0)
    np.testing.assert_allclose(curve.at(meter.positions()), meter.costs(), rtol=1e-12)
    line = CostCurve([np.array([0, 0]), np.array([10, 20])], [np.zeros(2), np.array([5.0, 1.0])])
    np.testing.assert_allclose(line.at(np.array([[5, 5], [10, 40]])), [[2.5, 0.25], [5.0, 1.0]])


def test_each_tenant_decides_by_its_own_cost_and_a_share_of_the_others():
    np.testing.assert_allclose(CostWeights(others=0.5).shared(np.array([[1.0, 10.0]])), [[6.0, 10.5]])


@pytest.mark.parametrize("weights", [{"others": -1.0}, {"bytes": float("nan")}, {"tail": float("inf")}])
def test_a_weight_out_of_range_is_named(weights: dict[str, float]):
    with pytest.raises(HandrailError, match=f"the weight {next(iter(weights))} must be"):
        CostWeights(**weights)
