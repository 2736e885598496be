"""Guards in files: YAML and JSON, errors that name file and field, and checks that users add by name."""

from __future__ import annotations

from typing import Literal

import pytest
from guard_stand import LAYOUT, Fixed, drive, observe
from pydantic import Field

from handrail.policies.guards import (
    CheckModel,
    GuardConfig,
    GuardedPolicy,
    Verdict,
    build_guard,
    known_checks,
    load_guard,
    register_check,
)
from handrail.traces.errors import HandrailError

DEFAULTS = [GuardConfig.for_routing(), GuardConfig.for_scheduling(), GuardConfig.for_prefetch()]


class OddConfig(CheckModel):
    """Config of :class:`Odd`."""

    check: Literal["odd-replicas"] = "odd-replicas"
    most: int = Field(default=3, ge=0)


class Odd:
    """Vetoes even replicas, and odd ones beyond the most."""

    name = "odd-replicas"
    stage = "proposal"
    cost_us = 0.1
    fault = False

    def __init__(self, config, layout):
        self._most = config.most

    def judge(self, context):
        if context.action % 2 and context.action <= self._most:
            return Verdict("accept", self.name, "ok")
        return Verdict("veto", self.name, "even-replica")


register_check(OddConfig, Odd)


@pytest.mark.parametrize("config", DEFAULTS, ids=["routing", "scheduling", "prefetch"])
@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_defaults_survive_a_file(tmp_path, config, suffix):
    path = tmp_path / f"guard{suffix}"
    path.write_text(config.to_json() if suffix == ".json" else config.to_yaml())
    assert load_guard(path) == config


def test_a_guard_in_yaml_says_only_what_is_not_default():
    config = GuardConfig.from_yaml(
        """
        charge: nominal
        checks:
          - check: contract
            latency_budget_s: 1e-2
          - {check: cost-margin, field: ttft_s, absolute_margin: 0.02}
        """
    )
    assert config.charge == "nominal"
    assert [check.check for check in config.checks] == ["contract", "cost-margin"]
    assert config.checks[0].latency_budget_s == 0.01
    assert build_guard(config, LAYOUT).charge == "nominal"


def test_a_users_check_is_read_by_name_and_judges(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("checks: [{check: contract}, {check: odd-replicas, most: 1}]")
    config = load_guard(path)
    assert isinstance(config.checks[1], OddConfig)
    assert GuardConfig.from_json(config.to_json()) == config
    guarded = GuardedPolicy(Fixed(3), Fixed(0), build_guard(config, LAYOUT), LAYOUT)
    assert drive(guarded, 1, observation=observe()) == [0]
    assert guarded.interventions == {"even-replica": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("checks: [{check: oracle}]", r"checks\.0\.check: no check is named 'oracle'; name one of .*budget.*twin"),
        ("checks: [contract]", r"checks\.0: a check is a mapping"),
        ("checks: [{check: 3}]", r"checks\.0: a check is a mapping"),
        ("checks: [{check: contract}, {check: odd-replicas, most: -1}]", r"checks\.1\.odd-replicas\.most"),
        ("checks: [{check: twin, horizon: 3}]", r"checks\.0\.twin\.horizon: Extra inputs"),
        ("checks: [{check: twin, horizon_s: .inf}]", r"checks\.0\.twin\.horizon_s"),
        ("checks: [{check: novelty, trip_decisions: 300}]", r"checks\.0\.novelty: trip_decisions"),
        ("checks: 3", r"checks: a list is needed"),
        ("checks: {check: contract}", r"checks: a list is needed"),
        ("supervisor: {min_dwell_s: 30}", r"it lists no checks; add"),
        ("", r"a guard is a mapping with checks and supervisor, not an empty file"),
        ("{checks: [], supervisor: {min_dwell_s: -1}}", r"supervisor\.min_dwell_s"),
        ("{checks: [], charge: real}", r"charge"),
        ("checks: [{check: cost-margin, field: ttft_s}]", r"checks\.0\.cost-margin\.absolute_margin is missing; add"),
        (
            "checks: [{check: contract, latency_budget_s: true}]",
            r"checks\.0\.contract\.latency_budget_s: a number is needed, not True",
        ),
        ("checks:\n - check: contract\n   latency_budget_s: 1\n   latency_budget_s: 2", r"line 4: .* twice; remove"),
        ("? [a, b]\n: 1\nchecks: []", r"line 1: no YAML \(found unhashable key\)"),
        ("checks: [{check: control-breaker, control: blocks}]", r"top level: .*needs supervisor\.rollout"),
        ("- check: contract", r"a guard is a mapping"),
        ("checks: [\n {check: contract}\n supervisor: {}", r"line 3: no YAML"),
    ],
)
def test_errors_name_file_field_and_mend(tmp_path, text, problem):
    path = tmp_path / "guard.yaml"
    path.write_text(text)
    with pytest.raises(HandrailError, match=rf"guard\.yaml: (?=.*(mend|remove|add|name one)).*{problem}"):
        load_guard(path)


def test_files_that_are_no_guards_are_refused(tmp_path):
    with pytest.raises(HandrailError, match=r"guard\.toml: a guard is a file that ends in"):
        load_guard(tmp_path / "guard.toml")
    with pytest.raises(HandrailError, match=r"none\.yaml: cannot be read"):
        load_guard(tmp_path / "none.yaml")
    (tmp_path / "guard.json").write_text('{"checks": [], "charge": "none", "charge": "nominal"}')
    with pytest.raises(HandrailError, match=r"guard\.json: charge stands twice in one object; remove one"):
        load_guard(tmp_path / "guard.json")
    (tmp_path / "guard.json").write_text("{")
    with pytest.raises(HandrailError, match="no JSON"):
        load_guard(tmp_path / "guard.json")


def test_yaml_runs_no_code(tmp_path):
    path = tmp_path / "guard.yaml"
    path.write_text("checks: !!python/object/apply:os.system ['true']")
    with pytest.raises(HandrailError, match="no YAML"):
        load_guard(path)


def test_names_are_taken_once():
    register_check(OddConfig, Odd)  # the same again is no other

    class Other(CheckModel):
        check: Literal["odd-replicas"] = "odd-replicas"

    class Nameless(CheckModel):
        check: str = "nameless"

    with pytest.raises(HandrailError, match="another name"):
        register_check(Other, Odd)
    with pytest.raises(HandrailError, match="Literal"):
        register_check(Nameless, Odd)
    assert "nameless" not in known_checks()
    with pytest.raises(HandrailError, match="register_check"):
        build_guard(GuardConfig(checks=(Nameless(),)), LAYOUT)


def test_all_built_in_checks_are_known():
    named = "breaker budget contract control-breaker cost-margin disagreement gate idling novelty plausibility"
    assert set(f"{named} rate-limit reservation starvation twin value-disagreement".split()) <= set(known_checks())
