"""What a training is told and what it hands to validation, in any domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..policies.guards import GuardConfig
    from ..policies.learning.executed_actions import LearnFrom


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
