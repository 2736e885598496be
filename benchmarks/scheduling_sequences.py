"""Sequences of jobs on a cluster that is empty at first, under native disciplines and under scorers: what the training
and the study of batch scheduling share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handrail.envs.cluster import ClusterConfig, ClusterResults, ClusterSimulator, SchedulerObserver
from handrail.envs.cluster.metrics import Objective, bounded_slowdown, wait_s
from handrail.experiments.domains.cluster import DOMAIN
from handrail.experiments.replay import run_policy
from handrail.policies.guards import GuardedPolicy
from handrail.traces import JobTrace

WINDOW = 64
"""Waiting jobs that a policy sees."""

WAIT_LIMIT_S = 14 * 86_400.0
EASY_HEURISTICS = ("sjf", "saf", "f1")
"""The heuristics that the policy is measured against, with EASY backfilling."""


@dataclass(frozen=True)
class Sequences:
    """Sequences of jobs, and the cluster for each of them."""

    parts: tuple[JobTrace, ...]
    system: ClusterConfig

    def only(self, which: Sequence[int]) -> Sequences:
        """These sequences alone."""
        return Sequences(tuple(self.parts[i] for i in which), self.system)


@dataclass(frozen=True)
class Played:
    """Bounded slowdown and wait in seconds of each job of one sequence."""

    slowdown: np.ndarray
    wait_s: np.ndarray


def batch_cluster(processors: int, **changes: Any) -> ClusterConfig:
    """Processors, shortest job first as the standing order, users' estimates."""
    settings = {"discipline": "sjf", "knowledge": "user_estimate", "wait_limit_s": WAIT_LIMIT_S, "window": WINDOW}
    return ClusterConfig.parse(processors=processors, **(settings | changes))


def play(sequences: Sequences, discipline: str, backfill: str = "easy") -> list[Played]:
    """All sequences under the cluster's own scheduler."""
    system = sequences.system.model_copy(update={"discipline": discipline, "backfill": backfill})
    found = []
    for part in sequences.parts:
        simulator = ClusterSimulator(system, part)
        simulator.advance()
        found.append(_played(simulator.results()))
    return found


def play_scorer(sequences: Sequences, scorer: Any) -> list[Played]:
    """All sequences under a network or a policy with ``act``."""
    found = []
    for part in sequences.parts:
        simulator = ClusterSimulator(sequences.system, part, decide="job")
        observer = SchedulerObserver(simulator)
        act, advance, apply = scorer.act, simulator.advance, simulator.apply
        point = advance()
        while point is not None:
            apply(act(observer(point)))
            point = advance()
        found.append(_played(simulator.results()))
    return found


def play_guarded(sequences: Sequences, build: Callable[[], GuardedPolicy]) -> tuple[list[Played], float]:
    """All sequences under guarded policies, a fresh one each; and the share of decisions that the learned one made."""
    judge = DOMAIN.judge(Objective())
    found, decided, decisions = [], 0.0, 0
    for part in sequences.parts:
        simulator = ClusterSimulator(sequences.system, part, decide="job")
        policy = build()
        done = run_policy(simulator, SchedulerObserver(simulator), policy, judge)
        found.append(_played(done.results))
        decided += policy.availability * simulator.decisions
        decisions += simulator.decisions
    return found, decided / max(decisions, 1)


def _played(results: ClusterResults) -> Played:
    return Played(bounded_slowdown(results), wait_s(results))
