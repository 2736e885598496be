"""What a training behind a guard needs beside the training itself: the guard, the environment, the options' sense."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym

from ..policies.guards import GuardConfig
from ..policies.learning.executed_actions import LearnFrom
from ..traces.errors import HandrailError
from .finalists import TrainingOptions
from .guarded_env import GuardedEnv
from .guarding import CALIBRATION_ITEMS, CalibrationJob, calibrated, run_calibration
from .judged_env import JudgedEnv
from .scenario import Prepared
from .splits import cut_split

PRICED = "ppo-lagrangian"
"""The algorithm that needs to know how many objectives may be missed."""


@dataclass(frozen=True, slots=True)
class Readied:
    """Options with all that was left to be measured.

    Attributes:
        options: The options; behind a guard with its config, for ``PRICED`` with its limit.
        fallback_share: Share of objectives that the fallback misses on the train part; None where not measured.
    """

    options: TrainingOptions
    fallback_share: float | None = None


def check_options(options: TrainingOptions) -> None:
    """Refuse what does not go together, before any work.

    Raises:
        HandrailError: It does not.
    """
    algorithm = options.algorithm
    if not options.guarded:
        for given, flag in ((options.learn_from, "--learn-from"), (options.guard, "--guard")):
            if given is not None:
                raise HandrailError(f"{flag} needs --guarded: without a guard the proposed action is the executed one")
    elif algorithm == "bandit":
        raise HandrailError(
            "--guarded does not go with --algo bandit, which compares arms drawn by lots with a replay without lots, "
            "and a guard would put the lots aside; use --algo ppo or --algo cem"
        )
    elif algorithm == "cem" and options.learn_from is not None:
        raise HandrailError(
            "--learn-from does not go with --algo cem, which scores whole policies and credits no action; "
            "leave it out, or use an algorithm that learns step by step"
        )
    if options.violation_limit is not None and algorithm != PRICED:
        raise HandrailError(f"--violation-limit is for --algo {PRICED}, not for {algorithm}; leave it out")


def learns_from(options: TrainingOptions) -> LearnFrom:
    """Which action is learned from.

    On-policy algorithms need the action that they drew, so ``proposed`` is their default; Q-learning learns from any
    behaviour, and what was executed is what the reward belongs to.
    """
    if not options.guarded:
        return "proposed"
    return options.learn_from or ("executed" if options.algorithm == "dqn" else "proposed")


def ready(options: TrainingOptions, window: Any, train: Prepared, say: Callable[[str], None]) -> Readied:
    """Measure on the train part what the options leave open: the guard's reference, the share of missed objectives.

    Args:
        options: As they were given, checked.
        window: The part of the trace that is split, as recorded.
        train: Its train part, prepared.
        say: Told in a few words what takes time.

    Raises:
        HandrailError: The train part is too short to measure what the guard lists.
    """
    if not options.guarded and (options.algorithm != PRICED or options.violation_limit is not None):
        return Readied(options)
    domain, scenario = train.domain, train.scenario
    say("replaying the fallback on the train part")
    capacity_per_s = domain.capacity_per_s(train, cut_split(window, "train", domain.margins), say)
    job = CalibrationJob(train.system, train.trace.head(CALIBRATION_ITEMS), scenario, capacity_per_s)
    run = run_calibration(job)
    share = sum(run.violated) / max(len(run.violated), 1)
    if options.guarded:
        guard = domain.fit_guard(options.guard or domain.default_guard(train.system), train.system)
        options = replace(options, guard=calibrated(guard, capacity_per_s, [run]))
    if options.algorithm == PRICED and options.violation_limit is None:
        options = replace(options, violation_limit=min(share, 0.99))
    return Readied(options, share)


def watched(env: gym.Env[Any, Any], prepared: Prepared, guard: GuardConfig | None) -> JudgedEnv:
    """An environment of a training: it tells what was missed, and stands behind the guard if there is one."""
    scenario = prepared.scenario
    if guard is None:
        return JudgedEnv(env, scenario.objective)
    return GuardedEnv(env, scenario.fallback, guard, objective=scenario.objective, seed=scenario.seed)


def guard_settings(options: TrainingOptions) -> dict[str, Any]:
    """What ``policy.json`` says of the guard of a training; nothing where there was none.

    The guard's hash makes a checkpoint of a search behind another guard another search.
    """
    settings: dict[str, Any] = {}
    if options.guarded and options.guard is not None:
        settings["guarded"] = True
        settings["guard_sha256"] = hashlib.sha256(options.guard.to_json().encode()).hexdigest()
        if options.algorithm != "cem":
            settings["learn_from"] = learns_from(options)
    if options.algorithm == PRICED:
        settings["violation_limit"] = options.violation_limit
    return settings
