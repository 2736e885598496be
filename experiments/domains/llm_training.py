"""Training a routing policy: a search on the tails themselves (cem), or reinforcement learning (all others)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...envs.common import Layout
from ...envs.llm_serving import layout_for
from ...envs.llm_serving.environment import LLMRoutingEnv
from ...policies.learning.cloning import Clone, Demonstrations, clone_policy
from ...policies.learning.dqn import train_dqn
from ...policies.learning.features import scorer_search
from ...policies.learning.ppo import train_ppo
from ...policies.learning.residual_ppo import train_residual_ppo
from ...policies.learning.tally import TrainingTally
from ..finalists import Finalist, TrainingOptions
from ..guarded_training import guard_settings, learns_from, watched
from ..judged_env import JudgedEnv
from ..replay import replay
from ..scenario import Prepared
from ..scorer_search import search_scorer
from ..tail_search import traffic_windows

EPISODE_REQUESTS = 4096
"""Requests an episode of reinforcement learning: long enough for queues to fill and drain."""

ENVIRONMENTS = {"ppo": 4, "ppo-lagrangian": 4, "bc-residual": 4, "dqn": 1}
"""Environments side by side."""

DEMONSTRATIONS = 20_000
"""Most decisions of the fallback that a clone is fitted to."""


def routing_finalists(
    options: TrainingOptions,
    window: Any,
    train: Prepared,
    work: Path,
    *,
    fingerprint: str,
    seed: int,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
    tally: TrainingTally | None = None,
) -> list[Finalist]:
    """What :meth:`Domain.finalists` says, for routing."""
    if options.algorithm != "cem":
        return _fit(options, layout_for(len(train.system.replicas)), train, work, say, on_progress, tally)
    say("replaying the fallback on the training windows")
    fallback = train.scenario.fallback
    drawn = traffic_windows(window, train, fallback, n=options.windows, seed=seed, max_items=options.window_items)
    windows = [each.behind_guard(options.guard, fallback) for each in drawn]
    return search_scorer(
        tuple(windows),
        fallback,
        options,
        work,
        scorer_search,
        fingerprint=fingerprint,
        say=say,
        on_progress=on_progress,
    )


def routing_settings(scenario: Any, options: TrainingOptions) -> dict[str, Any]:
    """What :meth:`Domain.training_settings` says, for routing."""
    common = {
        "replicas": scenario.replicas,
        "preset": scenario.preset,
        "load": scenario.load,
        "rate": scenario.rate,
        "load_by": scenario.load_by,
        "window_s": None if scenario.window_s is None else str(scenario.window_s),
        "telemetry_delay_s": scenario.telemetry_delay_s,
        "fallback": scenario.fallback,
        "scenario_seed": scenario.seed,
        **guard_settings(options),
    }
    if options.algorithm != "cem":
        return common | {"steps": options.steps, "episode_requests": EPISODE_REQUESTS}
    return common | {
        "iterations": options.iterations,
        "population": options.population,
        "elites": options.elites,
        "windows": options.windows,
        "per_iteration": options.per_iteration,
        "window_requests": options.window_items,
    }


def _fit(
    options: TrainingOptions,
    layout: Layout,
    prepared: Prepared,
    work: Path,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
    tally: TrainingTally | None,
) -> list[Finalist]:
    requests = min(EPISODE_REQUESTS, len(prepared.trace))
    env_fns = [
        partial(_environment, prepared, requests, options, seed) for seed in range(ENVIRONMENTS[options.algorithm])
    ]
    common: dict[str, Any] = {
        "steps": options.steps,
        "seed": options.seed,
        "log_dir": work,
        "on_step": lambda steps: on_progress(min(steps, options.steps), options.steps),
        "tally": tally,
        "learn_from": learns_from(options),
    }
    if options.algorithm == "bc-residual":
        say("cloning the fallback")
        clone = _clone(prepared, layout, options.seed)
        say(f"training a residual beside it for {options.steps:,} steps")
        networks = train_residual_ppo(env_fns, clone, **common)
    else:
        say(f"training {options.algorithm} for {options.steps:,} steps")
        if options.algorithm == "dqn":
            networks = train_dqn(env_fns, **common)
        else:
            networks = train_ppo(env_fns, violation_limit=options.violation_limit, **common)
    return [
        Finalist(f"step-{n.steps}", n.network(layout), n.architecture, n.mean, n.std, dict(n.tensors)) for n in networks
    ]


def _environment(prepared: Prepared, requests: int, options: TrainingOptions, seed: int) -> JudgedEnv:
    environment = LLMRoutingEnv(prepared.trace, prepared.system, split="all", episode_requests=requests, seed=seed)
    return watched(environment, prepared, options.guard)


def _clone(prepared: Prepared, layout: Layout, seed: int) -> Clone:
    """A clone of the fallback, from a replay of the train part under it."""
    scenario, system, trace = prepared.scenario, prepared.system, prepared.trace
    fallback = prepared.domain.make_heuristic(scenario.fallback, system, scenario.seed)
    shown = Demonstrations(fallback, max(len(trace) // DEMONSTRATIONS, 1))
    replay(system, trace, lambda _: shown, scenario.objective, seed=scenario.seed)
    return clone_policy(shown.observations, shown.actions, layout.n_replicas, seed=seed)
