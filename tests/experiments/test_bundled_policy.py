"""The bundled policy behind its guard on the bundled trace's test part: it rules, it gains; sabotage is held."""

from __future__ import annotations

from typing import Any

import pytest

from handrail.envs.llm_serving.metrics import compute_metrics
from handrail.experiments.domains.llm import DEFAULT_FALLBACK, DEFAULT_LOAD, LLMScenario
from handrail.experiments.guarding import calibrated, calibration_jobs, guard_thresholds, run_calibration
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.experiments.splits import whole_window
from handrail.policies import make_heuristic, make_policy
from handrail.policies.guards import GuardConfig, GuardedPolicy, build_guard
from handrail.traces import load_trace

REQUESTS = 10_000


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(load_trace("bundled"), LLMScenario(split="test", load=DEFAULT_LOAD))


@pytest.fixture(scope="module")
def guard(prepared: Prepared) -> GuardConfig:
    capacity_rps = prepared.change.capacity_rps
    jobs = calibration_jobs(load_trace("bundled"), prepared.system, prepared.scenario, prepared.change, capacity_rps)
    return calibrated(
        guard_thresholds("bundled", prepared.system), capacity_rps, [run_calibration(job) for job in jobs[:1]]
    )


def p99s(prepared: Prepared, policy: Any) -> dict[str, float]:
    trace, objective = prepared.trace.head(REQUESTS), prepared.scenario.objective
    run = replay(prepared.system, trace, policy, objective, measured=whole_window(), seed=0)
    metrics = compute_metrics(run.results, objective)
    return {name: metrics[name]["p99"] for name in ("ttft_s", "tbt_s", "e2e_s")}


def guarded(prepared: Prepared, guard: GuardConfig, spec: str) -> tuple[dict[str, float], GuardedPolicy]:
    made: list[GuardedPolicy] = []

    def build(layout):
        fallback = make_heuristic(DEFAULT_FALLBACK, layout)
        made.append(GuardedPolicy(make_policy(spec, layout), fallback, build_guard(guard, layout), layout))
        return made[0]

    return p99s(prepared, build), made[0]


@pytest.fixture(scope="module")
def fallback(prepared: Prepared) -> dict[str, float]:
    return p99s(prepared, DEFAULT_FALLBACK)


def test_without_faults_the_learned_policy_rules_and_its_gain_is_kept(prepared, guard, fallback):
    alone = p99s(prepared, "bundled")
    behind, policy = guarded(prepared, guard, "bundled")
    assert policy.availability >= 0.9
    assert policy.difference > 0.3  # it is no copy of the fallback
    assert alone["ttft_s"] < 0.95 * fallback["ttft_s"]
    gain = fallback["ttft_s"] - alone["ttft_s"]
    assert fallback["ttft_s"] - behind["ttft_s"] > 0.8 * gain


@pytest.mark.parametrize("kind", ["worst", "random", "constant", "nan", "slow", "raise"])
def test_sabotage_is_held(prepared, guard, fallback, kind):
    behind, _ = guarded(prepared, guard, f"sabotage:{kind}")
    for name, value in behind.items():
        assert value <= 1.1 * fallback[name], name


def test_sabotage_alone_does_harm(prepared, fallback):
    alone = p99s(prepared, "sabotage:worst")
    assert alone["ttft_s"] > 1.5 * fallback["ttft_s"]
    assert alone["e2e_s"] > 1.5 * fallback["e2e_s"]
