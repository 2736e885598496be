"""The digital twin end to end: each domain's simulator, forked by the guard of a replay of its bundled trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handrail.experiments.cli import options
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies.guards import (
    ContractConfig,
    Forecaster,
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    TwinConfig,
    build_guard,
)

PATIENT = SupervisorConfig(veto_share_limit=1.0)
SETTINGS = {
    "llm": (300, {"horizon_s": 2.0, "min_gap_s": 1.0}),
    "cluster": (150, {"horizon_s": 3600.0, "every": 15}),
    "prefetch": (500, {"horizon_s": 2.0}),
}


def prepared_for(name: str) -> Prepared:
    groups = (options.LLMOptions(), options.ClusterOptions(), options.PrefetchOptions())
    domain, own = options.chosen(name, *groups)
    scenario = domain.scenario_type(load=domain.default_load, split="validation")
    return prepare(own.read_trace(options.TrafficOptions()), scenario, lambda _: None)


def run(prepared: Prepared, items: int, policy: str, twin: TwinConfig) -> tuple[Any, GuardedPolicy]:
    domain, system = prepared.domain, prepared.system
    guard = GuardConfig(checks=(ContractConfig(), twin), supervisor=PATIENT)
    made: list[GuardedPolicy] = []

    def build(layout: Any) -> GuardedPolicy:
        proposing = domain.make_policy(policy, system)
        fallback = domain.make_heuristic(prepared.scenario.fallback, system)
        made.append(
            GuardedPolicy(proposing, fallback, build_guard(guard, layout), layout, domain.make_last_rung(system))
        )
        return made[0]

    return replay(system, prepared.trace.head(items), build, prepared.scenario.objective), made[0]


@pytest.mark.parametrize("followed", [0.0, 0.5])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_guard_plays_a_domains_simulator_forward_and_the_run_ends_and_repeats(name: str, followed: float):
    prepared = prepared_for(name)
    items, settings = SETTINGS[name]
    follow_s = followed * settings["horizon_s"]
    twin = TwinConfig(futures=2, relative_margin=0.0, z=0.0, follow_s=follow_s, **settings)
    done, guarded = run(prepared, items, "sabotage:random", twin)
    assert done.failure is None
    assert len(prepared.domain.headline(done.results)) == items
    said = guarded.interventions
    assert said.get("twin-cost-over-margin", 0) > 0
    assert set(said) <= {"twin-cost-over-margin", "twin-veto-stands"}
    assert 0.0 < guarded.availability < 1.0
    assert run(prepared, items, "sabotage:random", twin)[1].recorder.log_hash() == guarded.recorder.log_hash()


@pytest.mark.parametrize("followed", [0.0, 0.5])
@pytest.mark.parametrize("name", SETTINGS)
def test_forecasts_leave_the_run_as_it_is(name: str, followed: float):
    prepared = prepared_for(name)
    items, settings = SETTINGS[name]
    lenient = TwinConfig(futures=1, absolute_margin=1e12, follow_s=followed * settings["horizon_s"], **settings)
    done, guarded = run(prepared, items, "sabotage:random", lenient)
    assert guarded.availability == 1.0
    seed = prepared.scenario.seed
    plain = replay(
        prepared.system,
        prepared.trace.head(items),
        lambda _: prepared.domain.make_policy("sabotage:random", prepared.system, seed),
        prepared.scenario.objective,
    )
    np.testing.assert_array_equal(done.decisions.action, plain.decisions.action)
    np.testing.assert_array_equal(prepared.domain.headline(done.results), prepared.domain.headline(plain.results))


def test_where_drawn_accesses_end_before_the_horizon_both_choices_are_charged_for_the_same_ones():
    prepared = prepared_for("prefetch")
    domain, system = prepared.domain, prepared.system
    simulator = domain.simulator(system, prepared.trace.head(3_000), 0, None)
    observer = domain.observer(simulator)
    fallback = domain.make_heuristic(prepared.scenario.fallback, system)
    forecaster = Forecaster(simulator, observer, fallback)
    for _ in range(60):
        point = simulator.advance()
        forecaster.note(point)
        action = fallback.predict(observer(point))[0]
        simulator.apply(action)
    forecaster.note(simulator.advance())
    ended: list[Any] = []
    drawn = forecaster._future(0)
    fork = drawn.fork
    drawn.fork = lambda: ended.append(fork()) or ended[-1]
    far = forecaster.costs((0, 4), 1e6, 1)
    assert [one.accesses - simulator.accesses for one in ended] == [len(drawn.trace)] * 2
    assert len(drawn.trace) > 0
    np.testing.assert_array_equal(forecaster.costs((0, 4), 2e6, 1), far)
