"""What every policy is: a heuristic, a trained network, a guarded policy and a Stable-Baselines3 model alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OutcomeSignal:
    """How one earlier decision turned out, in the domain's own terms reduced to what a guard can judge.

    Attributes:
        decision: The number of the decision (0-based, in the order of ``predict`` calls) that this outcome is of.
        violated: Whether the service-level objective was missed.
        value: The domain's headline latency of that item, in seconds.
    """

    decision: int
    violated: bool
    value: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the loop tells a policy beside the observation, before each ``predict``.

    Attributes:
        now_s: Simulated time, in seconds.
        decision: The number of the decision that comes next (0-based).
        action_mask: Which actions are legal now, shape (n_actions,), bool; ``None`` where all are.
        outcomes: Outcomes that became known since the last decision, oldest first.
    """

    now_s: float
    decision: int
    action_mask: NDArray[np.bool_] | None = None
    outcomes: Sequence[OutcomeSignal] = field(default=())


@runtime_checkable
class Policy(Protocol):
    """``predict`` as Stable-Baselines3 has it.

    A policy may also have ``latency_s`` (declared decision latency in simulated seconds, taken as 0 where absent) and
    ``notify(feedback)`` (called by the loop before each ``predict``).
    """

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Propose an action for one observation of shape (layout.size,); return it with the next state."""
        ...
