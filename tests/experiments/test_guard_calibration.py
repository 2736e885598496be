"""The guard of a comparison is fitted to what the fallback does on validation; plausible systems are left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

from handrail.experiments.cli.cluster_options import ClusterOptions
from handrail.experiments.cli.llm_options import LLMOptions
from handrail.experiments.cli.options import TrafficOptions
from handrail.experiments.cli.prefetch_options import PrefetchOptions
from handrail.experiments.domains import domain_named
from handrail.experiments.guarding import CalibrationJob, calibrated, guard_thresholds, run_calibration
from handrail.experiments.replay import replay
from handrail.experiments.scenario import prepare
from handrail.policies.guards import (
    ContractConfig,
    GuardConfig,
    GuardedPolicy,
    NoveltyConfig,
    PlausibilityConfig,
    build_guard,
)

OPTIONS = {"llm": LLMOptions, "cluster": ClusterOptions, "prefetch": PrefetchOptions}
WINDOWS = {"llm": (0.0, 60.0), "cluster": (0.0, 200_000.0), "prefetch": None}


def prepared(name: str):
    domain, options = domain_named(name), OPTIONS[name]()
    scenario = domain.scenario_type(**options.scenario_fields(), load=domain.default_load, window_s=WINDOWS[name])
    return prepare(options.read_trace(TrafficOptions()), scenario)


@pytest.mark.parametrize("name", ["llm", "cluster", "prefetch"])
@pytest.mark.parametrize("policy", ["sabotage:random", "fallback"])
def test_a_clean_run_of_the_bundled_trace_is_plausible(name, policy):
    ready = prepared(name)
    domain, made = ready.domain, []
    default = domain.default_guard(ready.system)
    config = GuardConfig(checks=(ContractConfig(latency_budget_s=1.0), *default.only("plausibility").checks))

    def build(layout):
        fallback = domain.make_heuristic(ready.scenario.fallback, ready.system)
        asked = fallback if policy == "fallback" else domain.make_policy(policy, ready.system)
        made.append(GuardedPolicy(asked, fallback, build_guard(config, layout), layout))
        return made[0]

    assert len(config.checks) == 2
    run = replay(ready.system, ready.trace, build, ready.scenario.objective)
    assert len(run.decisions.action) > 300
    assert made[0].interventions == {}


def test_novelty_and_ranges_are_fitted_where_the_guard_lists_them(tmp_path: Path):
    ready = prepared("llm")
    path = tmp_path / "guard.yaml"
    path.write_text(
        """
        checks:
          - check: contract
          - {check: novelty, global_fields: [rate_60s], replica_fields: [running]}
          - {check: plausibility, range_fields: [running]}
          - {check: breaker, load_field: rate_60s, capacity_per_s: 1, loads: [0], shares: [0.1]}
        """
    )
    listed = guard_thresholds("bundled", ready.system, path)
    run = run_calibration(CalibrationJob(ready.system, ready.trace.head(400), ready.scenario, 7.0))
    fitted = calibrated(listed, 7.0, [run])
    _, novelty, plausibility, breaker = fitted.checks
    assert isinstance(novelty, NoveltyConfig)
    assert novelty.model is not None
    assert len(novelty.model.mean) == 3
    assert isinstance(plausibility, PlausibilityConfig)
    assert plausibility.range_high[0] > 0
    assert breaker.capacity_per_s == 7.0
    assert GuardConfig.from_json(fitted.to_json()) == fitted
    assert calibrated(fitted, 7.0, [run]) == fitted  # what is there is kept
    build_guard(fitted, run.layout)
