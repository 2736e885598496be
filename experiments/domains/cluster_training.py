"""Training a scheduling policy: reinforcement learning with illegal choices masked out, or a search on the tails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...envs.cluster.environment import ClusterSchedulingEnv
from ...policies.learning.job_features import job_search
from ...policies.learning.maskable_ppo import train_maskable_ppo
from ...traces import JobTrace
from ..finalists import Finalist, TrainingOptions
from ..scenario import Prepared
from ..scorer_search import sample_observations, search_scorer
from ..tail_search import traffic_windows

ENVIRONMENTS = 4
"""Environments side by side."""

EPISODE_JOBS = 512
"""Jobs an episode: long enough for a queue to build up and drain."""

SAMPLED_JOBS = 4000
"""Jobs of the train part that the fallback is replayed on for the normalisation of features."""


def scheduling_finalists(
    options: TrainingOptions,
    window: JobTrace,
    train: Prepared,
    work: Path,
    *,
    fingerprint: str,
    seed: int,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
) -> list[Finalist]:
    """What :meth:`Domain.finalists` says, for scheduling."""
    if options.algorithm == "maskable-ppo":
        return _fit(options, train, work, say, on_progress)
    say("replaying the fallback on the training windows")
    fallback = train.scenario.fallback
    windows = traffic_windows(window, train, fallback, n=options.windows, seed=seed, max_items=options.window_items)
    return search_scorer(
        tuple(windows),
        fallback,
        options,
        work,
        job_search,
        fingerprint=fingerprint,
        say=say,
        on_progress=on_progress,
    )


def scheduling_settings(scenario: Any, options: TrainingOptions) -> dict[str, Any]:
    """What :meth:`Domain.training_settings` says, for scheduling."""
    objective = scenario.objective
    common = {
        "processors": scenario.processors,
        "machines": scenario.machines,
        "nodes": scenario.nodes,
        "knowledge": scenario.knowledge,
        "placement": scenario.placement,
        "protocol": scenario.protocol,
        "quotas": scenario.quotas,
        "wait_limit_s": scenario.wait_limit_s,
        "slo_slowdown": objective.slo_slowdown,
        "slo_wait_s": objective.slo_wait_s,
        "load": scenario.load,
        "rate": scenario.rate,
        "load_by": scenario.load_by,
        "window_s": None if scenario.window_s is None else str(scenario.window_s),
        "fallback": scenario.fallback,
        "scenario_seed": scenario.seed,
    }
    if options.algorithm == "maskable-ppo":
        return common | {"steps": options.steps, "episode_jobs": EPISODE_JOBS}
    return common | {
        "iterations": options.iterations,
        "population": options.population,
        "elites": options.elites,
        "windows": options.windows,
        "per_iteration": options.per_iteration,
        "window_jobs": options.window_items,
    }


def _fit(
    options: TrainingOptions,
    prepared: Prepared,
    work: Path,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
) -> list[Finalist]:
    scenario, system, domain = prepared.scenario, prepared.system, prepared.domain
    layout = domain.layout(system)
    say("sampling decisions of the fallback")
    sampled = prepared.trace.head(SAMPLED_JOBS)
    observations = sample_observations(system, sampled, scenario.fallback, scenario.objective, seed=scenario.seed)
    search = job_search(layout, observations, options.hidden)
    jobs = min(EPISODE_JOBS, len(prepared.trace))
    env_fns = [
        partial(ClusterSchedulingEnv, prepared.trace, system, split="all", episode_jobs=jobs, seed=seed)
        for seed in range(ENVIRONMENTS)
    ]
    say(f"training {options.algorithm} for {options.steps:,} steps")
    scorers = train_maskable_ppo(
        env_fns,
        layout=layout,
        search=search,
        steps=options.steps,
        seed=options.seed,
        log_dir=work,
        on_step=lambda steps: on_progress(min(steps, options.steps), options.steps),
    )
    return [Finalist(s.label, s.network(layout), s.architecture, s.mean, s.std, dict(s.tensors)) for s in scorers]
