"""Training a routing policy: a search on the tails themselves (cem), or reinforcement learning (ppo, dqn)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...envs.common import Layout
from ...envs.llm_serving import layout_for
from ...envs.llm_serving.environment import LLMRoutingEnv
from ...policies.learning.dqn import train_dqn
from ...policies.learning.features import scorer_search
from ...policies.learning.ppo import train_ppo
from ..finalists import Finalist, TrainingOptions
from ..scenario import Prepared
from ..scorer_search import search_scorer
from ..tail_search import traffic_windows

EPISODE_REQUESTS = 4096
"""Requests an episode of PPO and DQN: long enough for queues to fill and drain."""

ENVIRONMENTS = {"ppo": 4, "dqn": 1}
"""Environments side by side."""


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
) -> list[Finalist]:
    """What :meth:`Domain.finalists` says, for routing."""
    if options.algorithm != "cem":
        return _fit(options, layout_for(len(train.system.replicas)), train, work, say, on_progress)
    say("replaying the fallback on the training windows")
    fallback = train.scenario.fallback
    windows = traffic_windows(window, train, fallback, n=options.windows, seed=seed, max_items=options.window_items)
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
) -> list[Finalist]:
    requests = min(EPISODE_REQUESTS, len(prepared.trace))
    env_fns = [
        partial(LLMRoutingEnv, prepared.trace, prepared.system, split="all", episode_requests=requests, seed=seed)
        for seed in range(ENVIRONMENTS[options.algorithm])
    ]
    say(f"training {options.algorithm} for {options.steps:,} steps")
    train = train_ppo if options.algorithm == "ppo" else train_dqn
    networks = train(
        env_fns,
        steps=options.steps,
        seed=options.seed,
        log_dir=work,
        on_step=lambda steps: on_progress(min(steps, options.steps), options.steps),
    )
    return [
        Finalist(f"step-{n.steps}", n.network(layout), n.architecture, n.mean, n.std, dict(n.tensors)) for n in networks
    ]
