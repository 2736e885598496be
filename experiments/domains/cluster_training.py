"""Training a scheduling policy: reinforcement learning with illegal choices masked out, or a search on the tails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...envs.cluster.environment import ClusterSchedulingEnv
from ...policies.learning.against_fallback import AgainstFallback
from ...policies.learning.job_features import job_search
from ...policies.learning.maskable_ppo import train_maskable_ppo
from ...policies.learning.tally import TrainingTally
from ...traces import JobTrace
from ..finalists import Finalist, TrainingOptions
from ..guarded_training import guard_settings, learns_from, watched
from ..scenario import Prepared
from ..scorer_search import sample_observations, search_scorer
from ..tail_search import traffic_windows

ENVIRONMENTS = 8
"""Environments side by side."""

EPISODE_JOBS = 1024
"""Jobs an episode: long enough for a queue to build up and drain."""

TAIL_WEIGHT = 1.0
"""Weight of squared waits against slowdowns in the reward of reinforcement learning."""

SNAPSHOTS = 10
"""Scorers of a training that validation may choose from."""


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
    tally: TrainingTally | None = None,
) -> list[Finalist]:
    """What :meth:`Domain.finalists` says, for scheduling."""
    if options.algorithm == "maskable-ppo":
        return _fit(options, train, work, say, on_progress, tally)
    say("replaying the fallback on the training windows")
    fallback = train.scenario.fallback
    drawn = traffic_windows(window, train, fallback, n=options.windows, seed=seed, max_items=options.window_items)
    windows = [each.behind_guard(options.guard, fallback) for each in drawn]
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
        **guard_settings(options),
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
    tally: TrainingTally | None,
) -> list[Finalist]:
    scenario, system, domain = prepared.scenario, prepared.system, prepared.domain
    layout = domain.layout(system)
    say("sampling decisions of the fallback")
    observations = sample_observations(
        system, prepared.trace, scenario.fallback, scenario.objective, seed=scenario.seed
    )
    search = job_search(layout, observations, options.hidden)
    jobs = min(EPISODE_JOBS, len(prepared.trace))
    env_fns = [partial(_environment, prepared, jobs, options, seed) for seed in range(ENVIRONMENTS)]
    say(f"training {options.algorithm} for {options.steps:,} steps")
    scorers = train_maskable_ppo(
        env_fns,
        layout=layout,
        search=search,
        steps=options.steps,
        seed=options.seed,
        log_dir=work,
        snapshots=SNAPSHOTS,
        on_step=lambda steps: on_progress(min(steps, options.steps), options.steps),
        tally=tally,
        learn_from=learns_from(options),
    )
    return [Finalist(s.label, s.network(layout), s.architecture, s.mean, s.std, dict(s.tensors)) for s in scorers]


def _environment(prepared: Prepared, jobs: int, options: TrainingOptions, seed: int) -> AgainstFallback:
    environment = ClusterSchedulingEnv(prepared.trace, prepared.system, split="all", episode_jobs=jobs, seed=seed)
    told = watched(environment, prepared, options.guard)
    return AgainstFallback(told, prepared.system.model_copy(update={"backfill": "easy"}), TAIL_WEIGHT)
