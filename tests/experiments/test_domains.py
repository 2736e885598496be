"""What a domain has to answer, and options that belong to one domain alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from handrail.envs.cluster import ClusterConfig
from handrail.envs.llm_serving import FleetConfig
from handrail.envs.prefetch import CacheConfig
from handrail.experiments.cli.grouped import grouped
from handrail.experiments.domains import DOMAINS, domain_named, domain_of
from handrail.policies.guards import build_guard
from handrail.traces import HandrailError


def test_a_system_tells_its_domain():
    assert domain_of(FleetConfig.parse("h100:1")).name == "llm"
    assert domain_of(ClusterConfig(processors=4)).name == "cluster"
    assert domain_of(CacheConfig(objects=4)).name == "prefetch"
    with pytest.raises(TypeError, match="int is no domain's system"):
        domain_of(4)


SYSTEMS = {
    "llm": FleetConfig.parse("h100:1"),
    "cluster": ClusterConfig(processors=4, overdue_passes=7),
    "prefetch": CacheConfig(objects=4),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_is_complete(name):
    domain = domain_named(name)
    scenario = domain.scenario_type()
    assert scenario.domain == domain.name == name
    assert scenario.fallback in domain.heuristics
    assert set(domain.report.gain_of) <= {(m, q) for m in domain.report.metrics for q in ("mean", "p99")}
    assert {metric for metric, _ in domain.report.training} <= set(domain.report.metrics)
    assert domain.headline_limit(scenario.objective, SYSTEMS[name]) > 0
    assert scenario.fallback in domain.rivals(SYSTEMS[name])


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_has_a_guard_for_its_observations(name):
    domain, system = domain_named(name), SYSTEMS[name]
    guard = domain.default_guard(system)
    assert guard.checks
    assert build_guard(guard, domain.layout(system))
    breakers = [check for check in guard.checks if check.check == "breaker"]
    assert [breaker.load_field for breaker in breakers] == [domain.load_field]


def test_a_guard_of_schedulers_holds_overdue_jobs_as_the_cluster_does():
    checks = domain_named("cluster").default_guard(SYSTEMS["cluster"]).checks
    assert [check.overdue_passes for check in checks if check.check == "starvation"] == [7]


def test_an_unknown_domain_is_said():
    with pytest.raises(HandrailError, match="is unknown"):
        domain_named("weather")


@dataclass(frozen=True, slots=True)
class Size:
    width: Annotated[int, typer.Option(min=1)] = 3
    deep: Annotated[bool, typer.Option("--deep")] = False


def measure(name: Annotated[str, typer.Option()], size: Size, colour: str = "red") -> None:
    """Say what is measured."""
    print(name, size, colour)


def test_a_group_of_options_is_its_fields():
    app = typer.Typer()
    app.command()(grouped(measure))
    runner = CliRunner()
    done = runner.invoke(app, ["--name", "box", "--width", "5", "--deep"])
    assert done.stdout == "box Size(width=5, deep=True) red\n"
    assert "box Size(width=3, deep=False) blue" in runner.invoke(app, ["--name", "box", "--colour", "blue"]).stdout
    assert runner.invoke(app, ["--name", "box", "--width", "0"]).exit_code == 2
    assert "Say what is measured." in runner.invoke(app, ["--help"]).stdout
