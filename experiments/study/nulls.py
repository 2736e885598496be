"""Null guards: what a guard must beat to have shown anything, as policies around a policy and its fallback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...policies import Feedback
from ...policies.fields import replica_slice
from ...policies.guards.context import read_action


class Switched(ABC):
    """Asks both and executes the policy's choice where :meth:`rules` says so; else, and on any mistake, the fallback's.

    Attributes:
        name: What logs call it.
        learned: Decisions that were executed from the policy.
        decisions: All decisions.
    """

    name = "switched"

    def __init__(self, policy: Any, fallback: Any) -> None:
        self.learned = 0
        self.decisions = 0
        self.latency_s = 0.0
        self._policy = policy
        self._fallback = fallback
        self._listeners = [p.notify for p in (policy, fallback) if hasattr(p, "notify")]
        self._feedback: Feedback | None = None

    @property
    def availability(self) -> float:
        """Share of the decisions that were executed from the policy."""
        return self.learned / max(self.decisions, 1)

    @abstractmethod
    def rules(self, now_s: float) -> bool:
        """Whether the policy rules at this decision; called once for each."""

    def notify(self, feedback: Feedback) -> None:
        """Take the time and pass everything on."""
        self._feedback = feedback
        for listen in self._listeners:
            listen(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, Any]:
        """The choice of whoever rules; both keep their states."""
        assert self._feedback is not None, "notify comes before predict"
        policy_state, fallback_state = state if state is not None else (None, None)
        standing, fallback_state = self._fallback.predict(observation, fallback_state, episode_start, deterministic)
        proposal, policy_state = self._policy.predict(observation.copy(), policy_state, episode_start, deterministic)
        action, complaint = read_action(proposal)
        mask = self._feedback.action_mask
        legal = not complaint and action >= 0 and (mask is None or (action < len(mask) and bool(mask[action])))
        self.decisions += 1
        ruled = self.rules(self._feedback.now_s) and legal
        self.learned += ruled
        self.latency_s = float(getattr(self._fallback, "latency_s", 0.0))
        if ruled:
            self.latency_s += float(getattr(self._policy, "latency_s", 0.0))
        return (action if ruled else int(standing)), (policy_state, fallback_state)


class RandomSwitch(Switched):
    """Each decision is the policy's with a fixed probability: a guard's availability without its judgement."""

    name = "random-switch"

    def __init__(self, policy: Any, fallback: Any, availability: float, seed: int) -> None:
        super().__init__(policy, fallback)
        self._share = availability
        self._rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))

    def rules(self, now_s: float) -> bool:
        return bool(self._rng.random() < self._share)


class ShiftedIntervals(Switched):
    """A guard's own on and off intervals, shifted in time (circularly): its dwell and its switches, not its timing."""

    name = "shifted-intervals"

    def __init__(
        self,
        policy: Any,
        fallback: Any,
        times_s: Sequence[float] | NDArray[np.float64],
        learned: Sequence[bool] | NDArray[np.bool_],
        shift_s: float,
    ) -> None:
        """Build it from a guarded run.

        Args:
            policy: The learned policy.
            fallback: What rules elsewhere.
            times_s: Times of the guarded run's decisions, never falling, at least one, shape (n,).
            learned: Whether each was executed from the policy, shape (n,).
            shift_s: How far the intervals are shifted; they come back in at the other end.
        """
        super().__init__(policy, fallback)
        self._times_s = np.asarray(times_s, dtype=np.float64).tolist()
        self._learned = [bool(x) for x in learned]
        self._start_s = self._times_s[0]
        self._span_s = max(self._times_s[-1] - self._start_s, 1e-9)
        self._shift_s = shift_s

    def rules(self, now_s: float) -> bool:
        at_s = self._start_s + (now_s - self._start_s - self._shift_s) % self._span_s
        return self._learned[max(bisect_right(self._times_s, at_s) - 1, 0)]


class LeastOfFields:
    """The choice with the least sum of some per-choice fields, of those that are legal: a guard's own model as a rule.

    Behind the guard's checks it is the fallback's kind of rule limited to what the action checks allow, with no learned
    policy: if it already has the gain, the policy adds nothing.
    """

    name = "rule-within-checks"
    knows = "none"
    latency_s = 0.0

    def __init__(self, layout: Layout, fields: Sequence[str]) -> None:
        self._slices = [replica_slice(layout, name) for name in fields]
        self._up = replica_slice(layout, "up")

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, Any]:
        """The index of the least sum."""
        total = np.sum([observation[part] for part in self._slices], axis=0)
        return int(np.where(observation[self._up] > 0.0, total, np.inf).argmin()), state


class Delayed:
    """A policy whose every decision takes longer by a constant: the guard's own cost injected into simulated time."""

    def __init__(self, policy: Any, delay_s: float) -> None:
        self.name = f"delayed({getattr(policy, 'name', type(policy).__name__)})"
        self.policy = policy
        self._delay_s = delay_s

    @property
    def latency_s(self) -> float:
        """The policy's latency and the delay, in simulated seconds."""
        return float(getattr(self.policy, "latency_s", 0.0)) + self._delay_s

    def notify(self, feedback: Feedback) -> None:
        """Pass on."""
        self.policy.notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The policy's choice."""
        return self.policy.predict(observation, state, episode_start, deterministic)
