"""What the documentation writes about guards is so: its example check, its tables of checks, its guards in YAML."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml
from guard_stand import LAYOUT, Fixed, drive, observe

from handrail.envs.common import Field, Layout
from handrail.policies.guards import (
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    build_guard,
    checks,
    known_checks,
    load_guard,
)
from handrail.traces.errors import HandrailError

DOCS = Path(__file__).parents[3] / "docs"
REQUIRED = "-"
BUILT_IN = (
    checks.BudgetCheck,
    checks.ContractCheck,
    checks.ControlBreaker,
    checks.CostMarginCheck,
    checks.DisagreementCheck,
    checks.GateCheck,
    checks.IdlingCheck,
    checks.NoveltyCheck,
    checks.OutcomeBreaker,
    checks.PlausibilityCheck,
    checks.RateLimitCheck,
    checks.ReservationCheck,
    checks.StarvationCheck,
    checks.TwinCheck,
    checks.ValueDisagreementCheck,
)
CLASSES: dict[str, type] = {getattr(cls, "name", "cost-margin"): cls for cls in BUILT_IN}

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(name), flags=re.DOTALL)


def table(heading: str, name: str = "checks.md") -> dict[str, list[str]]:
    """Rows of the first table behind a heading's first words, by the name in their first cell."""
    lines = page(name).split(heading, 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    rows = {}
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        rows[cells[0].strip(" `")] = cells[1:]
    return rows


def test_the_example_check_is_named_in_yaml_and_judges(tmp_path, monkeypatch):
    example = next(block for block in blocks("checks.md", "python") if "class UpOnly:" in block)
    (tmp_path / "up_only.py").write_text(example, encoding="utf-8")
    guard = tmp_path / "guard.yaml"
    guard.write_text(next(block for block in blocks("checks.md", "yaml") if "up-only" in block), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("up_only")

    config = load_guard(guard)
    assert [check.check for check in config.checks] == ["contract", "up-only", "cost-margin"]
    assert config.checks[1] == module.UpOnlyConfig(least_up_share=0.25)
    guarded = GuardedPolicy(Fixed(1), Fixed(0), build_guard(config, LAYOUT), LAYOUT)
    assert drive(guarded, 1, observation=observe(up=[1, 0, 1, 1])) == [0]
    assert drive(guarded, 1, observation=observe(up=[1, 1, 1, 1])) == [0, 1]
    assert guarded.interventions == {"replica-down": 1}
    # Only one of four is up: that is a quarter, not less, so it is still held to it; none at all is less.
    assert drive(guarded, 1, observation=observe(up=[1, 0, 0, 0]))[-1] == 0
    assert drive(guarded, 1, observation=observe(up=[0, 0, 0, 0]))[-1] == 1
    other = Layout(replica_fields=(Field("depth", 0.0, 1.0, "a field"),), global_fields=(), n_replicas=2)
    with pytest.raises(HandrailError, match="up"):
        build_guard(config.only("up-only"), other)


def test_its_guards_in_yaml_can_be_built():
    (text,) = blocks("guards.md", "yaml")
    config = GuardConfig.from_yaml(text)
    assert config.charge == "nominal"
    assert config.supervisor.rollout is not None
    assert [check.name for check in build_guard(config, LAYOUT).checks] == [
        "breaker",
        "contract",
        "cost-margin:drain_s",
    ]


def test_every_built_in_check_is_listed_once_in_both_tables():
    assert set(table("# Checks")) == set(table("## Thresholds")) == set(CLASSES)
    assert set(CLASSES) <= set(known_checks())


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_stage_and_cost_are_those_of_the_code(name):
    stage, _, cost_us, *_ = table("# Checks")[name]
    assert stage == CLASSES[name].stage
    assert float(cost_us) == CLASSES[name].cost_us


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_settings_and_defaults_are_those_of_the_code(name):
    settings = dict(re.findall(r"`(\w+)` (\(\)|[^\s,;]+)", table("## Thresholds")[name][0]))
    fields = {key: field for key, field in known_checks()[name].model_fields.items() if key != "check"}
    assert set(settings) == set(fields)
    for key, field in fields.items():
        assert settings[key] == (REQUIRED if field.is_required() else repr(field.default)), key


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_reasons_are_those_of_the_code(name):
    listed = set(re.findall(r"`([a-z]+(?:-[a-z]+)+|<field>-over-margin)`", table("## Thresholds")[name][1]))
    said = set(re.findall(r"``([a-z]+(?:-[a-z]+)+|<field>-over-margin)``", inspect.getdoc(CLASSES[name]) or ""))
    assert listed == said


@pytest.mark.parametrize(
    ("column", "config"),
    [
        ("llm", GuardConfig.for_routing()),
        ("cluster", GuardConfig.for_scheduling()),
        ("prefetch", GuardConfig.for_prefetch()),
    ],
)
def test_the_default_guards_are_as_listed(column, config):
    listed = {name: row[3] for name, row in table("# Checks").items()}
    count = {name: sum(check.check == name for check in config.checks) for name in CLASSES}
    for name, domains in listed.items():
        named = [part.strip() for part in domains.split(",")]
        expected = count[name]
        assert (column in named or f"{column} ({expected})" in named) == (expected > 0), name


def test_the_supervisors_are_as_listed():
    rows = table("## The supervisor", "guards.md")
    defaults = [GuardConfig.for_routing(), GuardConfig.for_scheduling(), GuardConfig.for_prefetch()]
    assert set(rows) == set(SupervisorConfig.model_fields) - {"rollout"}
    for name, row in rows.items():
        assert [float(cell) for cell in row] == [getattr(config.supervisor, name) for config in defaults], name


def test_every_file_to_edit_can_be_read_back():
    for config in (GuardConfig.for_routing(), GuardConfig.for_scheduling(), GuardConfig.for_prefetch()):
        assert GuardConfig.from_yaml(config.to_yaml()) == config
        assert set(yaml.safe_load(config.to_yaml())) == {"checks", "supervisor", "charge"}
