"""An ensemble: several policies that were trained alike, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..traces.errors import HandrailError
from .interface import Policy
from .value_heads import ValueHeads

Rule = Literal["majority", "mean-scores"]


class EnsemblePolicy:
    """Decides as its members do on the whole, and shows how far they agree.

    ``majority`` takes the action with most votes; of equals the one that the earliest member voted for. ``mean-scores``
    takes, of the actions that some member proposed, the one with the highest mean score, each member's scores
    standardised over the actions, since scores of different networks have no common unit; it needs members that are
    policy folders (``.network.scores``).

    Attributes:
        name: ``ensemble(<name>, ...)``.
        members: The policies.
        votes: What each member proposed at the last decision, shape (members,), int64.
        values: What the value heads estimated there, shape (heads,); None without value heads.
    """

    def __init__(
        self, members: Sequence[Policy], rule: Rule = "majority", value_heads: ValueHeads | None = None
    ) -> None:
        """Build an ensemble.

        Args:
            members: At least two policies, for the same observations.
            rule: How they decide together.
            value_heads: Estimates of what is to come, for a guard.

        Raises:
            HandrailError: There are fewer than two members, or one gives no scores where the rule needs them.
        """
        if len(members) < 2:
            raise HandrailError(f"an ensemble needs at least two members, got {len(members)}")
        if rule == "mean-scores" and not all(hasattr(getattr(m, "network", None), "scores") for m in members):
            raise HandrailError("mean-scores needs members that give scores, such as policy folders; use majority")
        self.members = tuple(members)
        self.name = f"ensemble({', '.join(getattr(m, 'name', type(m).__name__) for m in members)})"
        self.votes: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.values: NDArray[np.float64] | None = None
        self._rule = rule
        self._value_heads = value_heads

    @property
    def latency_s(self) -> float:
        """The slowest member's declared decision latency, in simulated seconds: they run side by side."""
        return max(float(getattr(member, "latency_s", 0.0)) for member in self.members)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, tuple[Any, ...]]:
        """Ask every member; return the common action and their states."""
        states = (None,) * len(self.members) if state is None else state
        answers = [
            m.predict(observation, s, episode_start, deterministic) for m, s in zip(self.members, states, strict=True)
        ]
        self.votes = np.array([int(action) for action, _ in answers], dtype=np.int64)
        if self._value_heads is not None:
            self.values = self._value_heads.values(observation)
        action = self._majority() if self._rule == "majority" else self._best_mean(observation)
        return action, tuple([after for _, after in answers])

    def _majority(self) -> int:
        votes = self.votes.tolist()
        return max(dict.fromkeys(votes), key=votes.count)

    def _best_mean(self, observation: NDArray[np.float32]) -> int:
        total: NDArray[np.float64] | None = None
        for member in self.members:
            scores = np.asarray(member.network.scores(observation), dtype=np.float64)  # type: ignore[attr-defined]
            spread = scores.std()
            scores = (scores - scores.mean()) / (spread if spread > 0.0 else 1.0)
            total = scores if total is None else total + scores
        assert total is not None
        proposed = np.unique(self.votes)  # legal ones: scores say nothing of that
        return int(proposed[total[proposed].argmax()])
