"""Training a prefetch policy: a contextual bandit, reinforcement learning, or a search on the tails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ...policies.guards import GuardConfig, build_guard
from ...policies.guards.guarded_session import GuardedSession
from ...policies.learning.access_costs import CostWeights
from ...policies.learning.arm_features import arm_search
from ...policies.learning.bandit import BanditSettings, train_bandit
from ...policies.learning.prefetch_ppo import PrefetchEpisodes, train_prefetch_ppo
from ...policies.learning.tally import TrainingTally
from ...traces import AccessTrace
from ..finalists import Finalist, TrainingOptions
from ..guarded_training import guard_settings, learns_from
from ..scenario import Prepared
from ..scorer_search import sample_observations, search_scorer
from ..tail_search import traffic_windows

START_RULE = "accuracy"
"""The heuristic that training starts at."""

WEIGHTS = CostWeights(others=1.0, bytes=0.2, tail=1.0)
"""What the bandit and PPO count as cost, chosen on validation parts of the headline mix
(``benchmarks/prefetch_mix.py``): with a tail weight of 0.01 PPO's mean is 4 % lower, and tenants' p99.9 a third higher.
"""

SNAPSHOTS = 10
"""Scorers of a PPO training that validation may choose from."""


def prefetching_finalists(
    options: TrainingOptions,
    window: AccessTrace,
    train: Prepared,
    work: Path,
    *,
    fingerprint: str,
    seed: int,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
    tally: TrainingTally | None = None,
    weights: CostWeights | None = None,
) -> list[Finalist]:
    """What :meth:`Domain.finalists` says, for prefetching.

    Args:
        weights: What the bandit and PPO count as cost; the search has the domain's tails.
    """
    if options.algorithm != "cem":
        return _fit(options, train, work, weights or WEIGHTS, say, on_progress, tally)
    say("replaying the fallback on the training windows")
    fallback = train.scenario.fallback
    drawn = traffic_windows(window, train, fallback, n=options.windows, seed=seed, max_items=options.window_items)
    windows = [each.behind_guard(options.guard, fallback) for each in drawn]
    return search_scorer(
        tuple(windows),
        fallback,
        options,
        work,
        arm_search,
        fingerprint=fingerprint,
        say=say,
        on_progress=on_progress,
    )


def prefetching_settings(scenario: Any, options: TrainingOptions, weights: CostWeights | None = None) -> dict[str, Any]:
    """What :meth:`Domain.training_settings` says, for prefetching."""
    common = {
        **{name: getattr(scenario, name) for name in SCENARIO_SETTINGS},
        "menu": None if scenario.menu is None else list(scenario.menu),
        "slo_misses": scenario.objective.slo_misses,
        "window_s": None if scenario.window_s is None else str(scenario.window_s),
        "scenario_seed": scenario.seed,
        **guard_settings(options),
    }
    if options.algorithm != "cem":
        counted = {f"{name}_weight": value for name, value in asdict(weights or WEIGHTS).items()}
        return common | {"steps": options.steps} | counted
    return common | {
        "iterations": options.iterations,
        "population": options.population,
        "elites": options.elites,
        "windows": options.windows,
        "per_iteration": options.per_iteration,
        "window_accesses": options.window_items,
    }


SCENARIO_SETTINGS = (
    "cache_objects",
    "cache_bytes",
    "cache_share",
    "eviction",
    "prefetcher",
    "degree",
    "controller",
    "closed",
    "paced",
    "backing",
    "tier_latency_s",
    "tier_service_s",
    "tier_bandwidth",
    "tier_queue",
    "tier_load",
    "every",
    "every_seconds",
    "per_tenant",
    "load",
    "rate",
    "load_by",
    "fallback",
)
"""Fields of the scenario that a policy folder names."""


def _fit(
    options: TrainingOptions,
    prepared: Prepared,
    work: Path,
    weights: CostWeights,
    say: Callable[[str], None],
    on_progress: Callable[[float, float], None],
    tally: TrainingTally | None,
) -> list[Finalist]:
    scenario, system, trace = prepared.scenario, prepared.system, prepared.trace
    layout = prepared.domain.layout(system)
    say("sampling decisions of the fallback and of the start")
    observations = [
        observation
        for rule in (scenario.fallback, START_RULE)
        for observation in sample_observations(system, trace, rule, scenario.objective, seed=scenario.seed)
    ]
    search = arm_search(layout, observations, options.hidden)
    say(f"training {options.algorithm} on {options.steps:,} decisions")

    def on_step(steps: int) -> None:
        on_progress(min(steps, options.steps), options.steps)

    if options.algorithm == "bandit":
        scorers = train_bandit(
            trace,
            system,
            layout=layout,
            search=search,
            steps=options.steps,
            seed=options.seed,
            settings=BanditSettings(weights),
            workers=options.workers,
            on_step=on_step,
        )
    else:
        scorers = train_prefetch_ppo(
            trace,
            system,
            layout=layout,
            search=search,
            steps=options.steps,
            seed=options.seed,
            episodes=PrefetchEpisodes(weights),
            log_dir=work,
            snapshots=SNAPSHOTS,
            on_step=on_step,
            judge=prepared.domain.judge(scenario.objective),
            session=None if options.guard is None else partial(_session, prepared, options.guard),
            tally=tally,
            learn_from=learns_from(options),
        )
    return [Finalist(s.label, s.network(layout), s.architecture, s.mean, s.std, dict(s.tensors)) for s in scorers]


def _session(prepared: Prepared, guard: GuardConfig) -> GuardedSession:
    domain, system, scenario = prepared.domain, prepared.system, prepared.scenario
    layout = domain.layout(system)
    fallback, last_rung = domain.make_heuristic(scenario.fallback, system, scenario.seed), domain.make_last_rung(system)
    return GuardedSession(fallback, build_guard(guard, layout), layout, last_rung)
