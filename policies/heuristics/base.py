"""What the heuristics of all domains share: the policy interface, the seeded random stream, the placebo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ..fields import replica_slice

# Scores this close (relative to the best) count as tied when a placebo breaks ties at random. It is far below the
# error of any estimate behind a score (models are good to some per cent), so neither choice is the better one.
PLACEBO_TIE_TOLERANCE = 1e-3

_CHOICE_STREAM, _TIE_STREAM = 0, 1


class Heuristic(ABC):
    """A rule that maps one observation of shape (layout.size,) to the index of a choice.

    What a heuristic remembers (a counter, a random stream) lives in the object; ``state`` is passed through untouched.

    Args:
        layout: The observation layout to read by field name.
        seed: Seed of the heuristic's own random choices.
        tie_seed: Makes the heuristic its own placebo: the same rule with other tie-breaks. A rule with scores then
            chooses at random among all that are within ``PLACEBO_TIE_TOLERANCE`` of the best; a rule that draws lots
            draws from another stream; a rule with a rotation starts it elsewhere. Which choices are *good* is left as
            it is, so the difference between a rule and its placebo is what chance alone does to a tail.

    Attributes:
        name: The rule's name on the command line.
        knows: What it knows of lengths or run times that are not over: ``none``, ``user_estimate``, ``predicted``
            (through an estimate in the observation) or ``true``.
        latency_s: Declared decision latency in simulated seconds.
        needs_observation: False where the rule reads nothing but ``up``, so that a replay may leave the rest out.

    Raises:
        HandrailError: The layout lacks a field that the rule reads.
    """

    name: ClassVar[str]
    knows: str
    latency_s: float = 0.0
    needs_observation: ClassVar[bool] = True

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> None:
        self.n_replicas = layout.n_replicas
        self.tie_seed = tie_seed
        self._up = replica_slice(layout, "up")
        key = (_CHOICE_STREAM,) if tie_seed is None else (_TIE_STREAM, tie_seed)
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))

    @abstractmethod
    def choose(self, observation: NDArray[np.float32]) -> int:
        """The choice for this observation."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, Any]:
        """Return the index of the choice and ``state`` as given."""
        return self.choose(observation), state

    def _pick(self, tied: NDArray[np.intp]) -> int:
        """One of the given indices, drawn from the heuristic's stream."""
        return int(tied[int(self._rng.random() * tied.size)])
