"""The environment's default rate is what `compare` would choose for the bundled trace and the default fleet."""

from __future__ import annotations

import pytest

from handrail.envs.llm_serving.environment import DEFAULT_FLEET, DEFAULT_RATE_FACTOR
from handrail.experiments.domains.llm import DEFAULT_LOAD, LLMScenario
from handrail.experiments.scenario import prepare
from handrail.traces import load_trace


def test_the_default_environment_runs_at_the_default_load():
    scenario = LLMScenario(replicas=DEFAULT_FLEET, split="all", load=DEFAULT_LOAD)
    prepared = prepare(load_trace("bundled"), scenario)
    assert pytest.approx(prepared.change.factor, rel=0.02) == DEFAULT_RATE_FACTOR
