"""Small scenarios of all domains, ready to be put under stress."""

from __future__ import annotations

from functools import cache

import numpy as np

from handrail.experiments.domains.cluster_system import ClusterScenario
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.domains.prefetch_system import PrefetchScenario
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies.guards import GuardedPolicy, build_guard
from handrail.traces import AccessTrace, JobTrace, RequestTrace


def requests(n: int = 900, seed: int = 3) -> RequestTrace:
    """Poisson arrivals at 12 a second, every third request the follow-up of a session."""
    rng = np.random.default_rng(seed)
    session = np.where(np.arange(n) % 3 == 0, np.arange(n) // 30, -1)
    return RequestTrace(
        arrival_s=np.cumsum(rng.exponential(1 / 12, n)),
        prompt_tokens=rng.integers(50, 2000, n),
        output_tokens=rng.integers(1, 120, n),
        session_id=session,
        name="requests",
    )


def jobs(n: int = 400, seed: int = 1) -> JobTrace:
    """Poisson arrivals of jobs of 1 to 8 GPUs that run for minutes."""
    rng = np.random.default_rng(seed)
    run_s = np.round(rng.lognormal(5.0, 1.0, n)) + 1.0
    return JobTrace(
        arrival_s=np.round(np.cumsum(rng.exponential(40.0, n)), 1),
        run_s=run_s,
        estimate_s=run_s * 2,
        tasks=np.ones(n, int),
        gpu_milli=2 ** rng.integers(0, 4, n) * 1000,
        cpu_milli=np.full(n, 1000),
        memory_mib=np.zeros(n, int),
        name="jobs",
    )


def accesses(n: int = 6000, seed: int = 1) -> AccessTrace:
    """Poisson arrivals: half of them go through the ids in order, half draw from 60 popular ids."""
    rng = np.random.default_rng(seed)
    scans = rng.random(n) < 0.5
    return AccessTrace(
        arrival_s=np.cumsum(rng.exponential(0.002, n)),
        key=np.where(scans, 1000 + np.cumsum(scans), np.minimum(rng.geometric(0.05, n), 60)),
        size_bytes=np.full(n, 4096),
        name="accesses",
    )


@cache
def prepared(domain: str) -> Prepared:
    """The scenario of a domain, made ready."""
    if domain == "llm":
        return prepare(requests(), LLMScenario(replicas="h100:1,a100:2", rate=1.0, whole=True))
    if domain == "cluster":
        return prepare(jobs(), ClusterScenario(machines="8x4", rate=1.0, whole=True))
    return prepare(accesses(), PrefetchScenario(cache_objects=200, rate=1.0, whole=True))


def fallback(given: Prepared):
    """Builds the scenario's fallback."""
    return lambda _: given.domain.make_heuristic(given.scenario.fallback, given.system, given.scenario.seed)


def named(given: Prepared, spec: str):
    """Builds what ``--policy`` names."""
    return lambda _: given.domain.make_policy(spec, given.system, given.scenario.seed)


def guard(given: Prepared):
    """Puts the domain's default guard around policy and fallback."""
    config = given.domain.fit_guard(given.domain.default_guard(given.system), given.system)
    last_rung = given.domain.make_last_rung(given.system)
    return lambda policy, behind, layout: GuardedPolicy(policy, behind, build_guard(config, layout), layout, last_rung)
