"""Guards as data: round trip, refusals, what the default holds; and the calibration of the breaker's reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from guard_stand import LAYOUT, Fixed, observe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handrail.policies.guards import (
    BreakerConfig,
    CostMarginConfig,
    GuardConfig,
    ReferenceCalibrator,
    build_guard,
    reference_curve,
)
from handrail.policies.interface import Feedback, OutcomeSignal
from handrail.traces.errors import HandrailError


def test_json_round_trip():
    config = GuardConfig.for_routing(capacity_per_s=12.5, loads=(0.5, 0.9), shares=(0.01, 0.2))
    assert GuardConfig.from_json(config.to_json()) == config
    assert GuardConfig.from_json(config.to_json()).to_json() == config.to_json()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.update(chekcs=[]), "chekcs"),
        (lambda d: d["supervisor"].update(min_dwell=3), "supervisor.min_dwell"),
        (lambda d: d["supervisor"].update(min_dwell_s=-3), "supervisor.min_dwell_s"),
        (lambda d: d["checks"].append({"check": "oracle"}), "checks"),
        (lambda d: d["supervisor"].update(probe_outcomes=4), "probes pass unjudged"),
        (lambda d: d["checks"][2].update(absolute_margin="wide"), "checks.2.cost-margin.absolute_margin"),
        (lambda d: d["checks"][-1].update(shares=[0.5, 0.1], loads=[0.1, 0.2]), "never fall"),
        (lambda d: d["checks"][-1].update(shares=[0.1]), "pair up"),
    ],
)
def test_a_bad_config_names_its_field(change, where):
    data = json.loads(GuardConfig.for_routing(loads=(0.5, 0.9), shares=(0.01, 0.2)).to_json())
    change(data)
    with pytest.raises(HandrailError, match=r"guard\.json: .*" + where.replace(".", r"\.")):
        GuardConfig.from_json(json.dumps(data), source="guard.json")


def test_text_that_is_no_json_is_refused():
    with pytest.raises(HandrailError, match="guard config"):
        GuardConfig.from_json("{")


def test_configs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        GuardConfig.for_routing().checks[0].latency_budget_s = 5.0  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [{"loads": (0.5, 0.5)}, {"shares": (-0.1, 0.5)}, {"min_outcomes": 500}])
def test_breaker_refuses(bad):
    good = {"load_field": "rate_60s", "capacity_per_s": 1.0, "loads": (0.5, 0.9), "shares": (0.0, 0.5)}
    with pytest.raises(ValidationError):
        BreakerConfig(**(good | bad))


def test_layers_can_be_taken_alone():
    config = GuardConfig.for_routing()
    assert [check.check for check in config.only("breaker").checks] == ["breaker"]
    assert [check.check for check in config.only("contract", "breaker").checks] == ["contract", "breaker"]
    assert {check.name for check in build_guard(config.only("cost-margin"), LAYOUT).proposal_checks} == {
        "cost-margin:ttft_s",
        "cost-margin:drain_s",
        "cost-margin:decode_step_s",
    }


def test_the_guard_waits_for_the_contracts_budget_only_where_there_is_one():
    config = GuardConfig.for_routing()
    assert build_guard(config, LAYOUT).latency_budget_s == 1e-3
    assert build_guard(config.only("breaker"), LAYOUT).latency_budget_s is None


def test_an_unknown_field_is_refused_when_the_guard_is_built():
    config = GuardConfig(checks=(CostMarginConfig(field="cost_s", absolute_margin=1.0),))
    with pytest.raises(HandrailError, match="cost_s"):
        build_guard(config, LAYOUT)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.booleans()), min_size=1, max_size=300),
    st.integers(1, 50),
    st.floats(0, 1),
    st.integers(1, 10),
)
def test_any_calibration_is_a_curve_that_the_breaker_takes(pairs, window, quantile, bins):
    loads, violated = zip(*pairs, strict=True)
    curve = reference_curve(loads, violated, window_outcomes=window, quantile=quantile, bins=bins)
    BreakerConfig(load_field="rate_60s", capacity_per_s=1.0, loads=curve[0], shares=curve[1])


def test_calibration_finds_the_share_at_each_load():
    rng = np.random.default_rng(np.random.SeedSequence(3))
    loads = np.repeat([0.5, 0.7, 0.9], 5_000)
    violated = rng.random(loads.size) < np.repeat([0.02, 0.1, 0.4], 5_000)
    median = BreakerConfig(
        load_field="rate_60s",
        capacity_per_s=1.0,
        **dict(zip(("loads", "shares"), reference_curve(loads, violated, quantile=0.5, bins=6), strict=True)),
    )
    assert [median.reference_share(load) for load in (0.5, 0.7, 0.9)] == pytest.approx([0.02, 0.1, 0.4], abs=0.03)
    upper_loads, upper = reference_curve(loads, violated, quantile=0.99, bins=6)
    high = BreakerConfig(load_field="rate_60s", capacity_per_s=1.0, loads=upper_loads, shares=upper)
    assert all(high.reference_share(load) >= median.reference_share(load) for load in (0.5, 0.7, 0.9))


@pytest.mark.parametrize(("loads", "violated"), [([], []), ([0.5], [True, False])])
def test_calibration_needs_paired_outcomes(loads, violated):
    with pytest.raises(HandrailError, match="pairs"):
        reference_curve(loads, violated)


def test_the_calibrator_decides_as_the_fallback_and_charges_the_higher_load():
    watch = ReferenceCalibrator(Fixed(2), LAYOUT, load_field="rate_60s", capacity_per_s=10.0)
    rates = [5.0, 10.0, 2.5]
    for i, rate in enumerate(rates):
        outcomes = (OutcomeSignal(0, True, 1.0),) if i == 1 else (OutcomeSignal(1, False, 1.0),) if i == 2 else ()
        watch.notify(Feedback(float(i), i, None, outcomes))
        assert watch.predict(observe(rate_60s=rate))[0] == 2
    assert list(watch.loads) == [1.0, 1.0]
    assert list(watch.violated) == [True, False]
    with pytest.raises(HandrailError, match="notify"):
        watch.predict(observe())
