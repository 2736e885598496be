"""What a training is told and what it hands to validation, in any domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..traces.errors import HandrailError

if TYPE_CHECKING:
    from ..policies.guards import GuardConfig
    from ..policies.learning.executed_actions import LearnFrom
    from .domains import Domain


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train.

    Attributes:
        algorithm: One of the domain's algorithms.
        seed: Seed of everything that training draws.
        iterations: Of the search.
        population: Candidates an iteration of the search.
        elites: Best candidates that the search follows.
        hidden: Sizes of the scorer's hidden layers; none for a linear scorer.
        windows: Stretches of training traffic for the search.
        per_iteration: How many of them an iteration replays.
        window_items: Longest stretch, in items of the trace.
        steps: Environment steps of the algorithms that learn step by step.
        workers: Processes that replay; they change no result.
        guarded: Train behind a guard, and select and report behind it too.
        guard: Its thresholds, None for the domain's own; what a guard has to measure is measured on the train part.
        learn_from: Which action of a decision behind a guard is learned from; None for the algorithm's own default.
        violation_limit: Share of missed objectives that ``ppo-lagrangian`` enforces; None for the fallback's own.
    """

    algorithm: str = "cem"
    seed: int = 0
    iterations: int = 12
    population: int = 32
    elites: int = 8
    hidden: tuple[int, ...] = ()
    windows: int = 6
    per_iteration: int = 2
    window_items: int = 12_000
    steps: int = 500_000
    workers: int = 1
    guarded: bool = False
    guard: GuardConfig | None = None
    learn_from: LearnFrom | None = None
    violation_limit: float | None = None


SEARCH_FLAGS = ("iterations", "population", "elites", "windows", "per-iteration", "window-requests")
"""Options that only the search has."""

WITH_HIDDEN = {"llm": ("cem",), "cluster": ("maskable-ppo", "cem"), "prefetch": ("ppo", "cem")}
"""Algorithms whose scorer may have hidden layers of a user's choice, by domain."""


def check_given(domain: Domain, algorithm: str, given: Iterable[str]) -> None:
    """Refuse options that a user gave and the algorithm would not read.

    Args:
        domain: The domain.
        algorithm: What ``--algo`` takes; one that the domain does not have is left to the training.
        given: Names of the options that were given, as on the command line without their hyphens in front.

    Raises:
        HandrailError: The algorithm has no use for one of them.
    """
    if algorithm not in domain.algorithms:
        return
    users: dict[str, tuple[str, ...]] = dict.fromkeys(SEARCH_FLAGS, ("cem",))
    users["hidden"] = WITH_HIDDEN[domain.name]
    users["steps"] = tuple(name for name in domain.algorithms if name != "cem")
    for flag in given:
        if algorithm not in users[flag]:
            raise HandrailError(f"--{flag} goes with --algo {_or(users[flag])}, not {algorithm}; leave it out")


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True, slots=True)
class Finalist:
    """A network that validation may choose, with all that a policy folder needs of it.

    Attributes:
        label: What it is called in reports.
        network: NumPy inference: ``act(observation)`` gives the action.
        architecture: What ``policy.json`` says of it.
        mean, std: Of its inputs.
        tensors: Its weights by name.
    """

    label: str
    network: Any
    architecture: Any
    mean: np.ndarray
    std: np.ndarray
    tensors: dict[str, np.ndarray]
