"""Faults of the learned policy: something else answers in its place within the window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...policies import Feedback
from ...policies.sabotage import KINDS, PREFIX
from ...policies.sabotage.faults import LOAD_FIELDS, Flapping, Sleeper
from ...traces.errors import HandrailError
from .context import StressContext
from .severities import SEVERITIES, Severities
from .stress import Kind, Stress, Workshop


class Displaced:
    """A policy whose place another one takes within [start_s, end_s). Both hear of everything.

    Needs ``notify`` before each ``predict``, as the loop does it. Attributes that a guard or a report reads (``votes``,
    ``values``, ``card``, ``policy_hash``) are those of the policy itself.
    """

    def __init__(self, policy: Any, other: Any, start_s: float, end_s: float, name: str) -> None:
        self.policy = policy
        self.other = other
        self.name = name
        self.latency_s = 0.0
        self._start_s = start_s
        self._end_s = end_s
        self._now_s = 0.0

    @property
    def votes(self) -> Any:
        """The members' proposals of an ensemble; None while the other one answers, and for other policies."""
        return None if self._displaced else getattr(self.policy, "votes", None)

    @property
    def values(self) -> Any:
        """The value estimates of a policy's heads; None while the other one answers, and for other policies."""
        return None if self._displaced else getattr(self.policy, "values", None)

    @property
    def policy_hash(self) -> str:
        """The policy's identity; empty where it has none."""
        return getattr(self.policy, "policy_hash", "")

    @property
    def _displaced(self) -> bool:
        return self._start_s <= self._now_s < self._end_s

    def notify(self, feedback: Feedback) -> None:
        """Take the time, and pass the feedback on to both."""
        self._now_s = feedback.now_s
        for policy in (self.policy, self.other):
            notify = getattr(policy, "notify", None)
            if notify is not None:
                notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """What the one that answers now says. The policy's own state waits while the other one answers."""
        own, others = state if state is not None else (None, None)
        if not self._displaced:
            action, own = self.policy.predict(observation, own, episode_start, deterministic)
            self.latency_s = float(getattr(self.policy, "latency_s", 0.0))
            return action, (own, others)
        answer = self.other.predict(observation, others, episode_start, deterministic)
        self.latency_s = float(getattr(self.other, "latency_s", 0.0))
        return answer[0], (own, answer[1])


@dataclass(frozen=True, slots=True)
class PolicyFault(Stress):
    """Within the window one of the broken policies answers.

    ``flapping`` alternates the fallback's choice with the worst; ``sleeper`` is the learned policy itself until a time
    after the onset at which the load that it sees is high, then the worst until the end; the others are what
    ``--policy sabotage:KIND`` is.

    Attributes:
        fault: What may stand after ``sabotage:``.
        severities: How bad it is.

    Raises:
        HandrailError: There is no such broken policy.
    """

    fault: str = "worst"
    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "policy"

    def __post_init__(self) -> None:
        Stress.__post_init__(self)
        if self.fault not in KINDS:
            raise HandrailError(
                f"policy:{self.fault}: there is no such broken policy; choose one of {', '.join(KINDS)}"
            )

    @property
    def label(self) -> str:
        return f"policy:{self.fault}"

    def on_policy(self, policy: Any, context: StressContext, workshop: Workshop) -> Any:
        start_s, end_s = self.window_s(context)
        name = f"{getattr(policy, 'name', type(policy).__name__)}!{self.fault}"
        if self.fault == "sleeper":
            field, may_wake = LOAD_FIELDS[context.domain], partial(_within, start_s, end_s)  # type: ignore[index]
            sleeper = Sleeper(policy, workshop.make(f"{PREFIX}worst"), workshop.layout, field, may_wake)
            sleeper.name = name
            return sleeper
        if self.fault == "flapping":
            other = Flapping(workshop.fallback(), workshop.make(f"{PREFIX}worst"), self.severities.flap_decisions)
        else:
            other = workshop.make(f"{PREFIX}{self.fault}")
            if hasattr(other, "healthy_decisions"):
                other.healthy_decisions = 0  # it breaks at the onset
        return Displaced(policy, other, start_s, end_s, name)


def _within(start_s: float, end_s: float, now_s: float, decision: int) -> bool:
    return start_s <= now_s < end_s
