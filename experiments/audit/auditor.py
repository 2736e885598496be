"""Plays both choices onward at the sampled decisions of a run, while the run itself goes on as it did."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...policies import Feedback
from ...policies.guards import GuardedPolicy
from ...policies.guards.context import read_action
from ...policies.guards.forecast import play
from .sample import Stratum


@dataclass(frozen=True, slots=True)
class Finding:
    """What would have come of the two choices of one decision, over the same future.

    Attributes:
        decision: Number of the decision.
        now_s: Its simulated time.
        stratum: Place of its stratum in the sample.
        proposed: What the policy proposed, or would have.
        fallback: What the fallback chose.
        proposed_cost_s: Cost charged over the horizon after the proposal; +inf if the policy failed on the way.
        fallback_cost_s: Cost charged over the horizon after the fallback's choice.
    """

    decision: int
    now_s: float
    stratum: int
    proposed: int
    fallback: int
    proposed_cost_s: float
    fallback_cost_s: float

    @property
    def harm_s(self) -> float:
        """By how much the proposal is dearer; negative where it is better."""
        return self.proposed_cost_s - self.fallback_cost_s


class Auditor:
    """A guarded policy that audits itself: it decides as the guarded policy does, and plays sampled decisions forward.

    Where the policy was asked, its proposal and the fallback's action are each followed by the fallback: what that one
    choice did. Where it was not asked (the supervisor was open), policy and fallback each go on ruling to the horizon:
    what taking the rule away did. Forks keep the truth, so this is for after the fact and never for a guard.

    Attributes:
        findings: What was found so far, in the order of the decisions.
    """

    def __init__(
        self,
        guarded: GuardedPolicy,
        strata: tuple[Stratum, ...],
        horizons_s: tuple[float, float],
        on_finding: Callable[[], None],
    ) -> None:
        """Audit a guarded policy.

        Args:
            guarded: It; of this run alone.
            strata: Which decisions are audited.
            horizons_s: How long a choice is played onward, and how long a rule.
            on_finding: Called after each audited decision.
        """
        self.findings: list[Finding] = []
        self.name = guarded.name
        self._guarded = guarded
        self._horizons_s = horizons_s
        self._on_finding = on_finding
        self._strata = strata
        self._wanted: Mapping[int, int] = {d: i for i, stratum in enumerate(strata) for d in stratum.decisions}
        self._simulator: Any = None
        self._observer: Any = None
        self._feedback: Feedback | None = None
        self._decision = 0

    @property
    def latency_s(self) -> float:
        """Decision latency of the last decision, in simulated seconds."""
        return self._guarded.latency_s

    def bind(self, simulator: Any, observer: Any) -> None:
        """Take the running simulator and its observer, before the first decision."""
        self._simulator, self._observer = simulator, observer
        self._guarded.bind(simulator, observer)

    @property
    def watch(self) -> Any:
        """What the guarded policy is shown of every decision point, if it asks for that."""
        return getattr(self._guarded, "watch", None)

    def notify(self, feedback: Feedback) -> None:
        """Pass on what the loop tells."""
        self._decision = feedback.decision
        self._feedback = feedback
        self._guarded.notify(feedback)

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[int, Any]:
        """Decide as the guarded policy does."""
        action, state = self._guarded.predict(observation, state, episode_start, deterministic)
        stratum = self._wanted.get(self._decision)
        if stratum is not None:
            self._audit(observation, stratum)
            self._on_finding()
        return action, state

    def _audit(self, observation: NDArray[np.float32], stratum: int) -> None:
        recorder, guarded, simulator = self._guarded.recorder, self._guarded, self._simulator
        number = self._decision
        fallback_action = int(recorder.column("fallback")[number])
        asked = self._strata[stratum].asked
        until_s = simulator.now_s + self._horizons_s[0 if asked else 1]
        if asked:
            proposed = int(recorder.column("proposed")[number])
            after: Any = guarded.fallback
        else:
            after = copy.deepcopy(guarded.policy)
            proposed = self._would_propose(after, observation)
        fallback_cost_s = self._play(guarded.fallback, fallback_action, until_s)
        proposed_cost_s = self._play(after, proposed, until_s) if proposed >= 0 else inf
        self.findings.append(
            Finding(number, simulator.now_s, stratum, proposed, fallback_action, proposed_cost_s, fallback_cost_s)
        )

    def _would_propose(self, policy: Any, observation: NDArray[np.float32]) -> int:
        """The action of a policy that was not asked; -1 where it has none that is legal."""
        try:
            action, malformed = read_action(policy.predict(observation.copy())[0])
        except (Exception, SystemExit):
            return -1
        feedback = self._feedback
        mask = None if feedback is None else feedback.action_mask
        legal = not malformed and action >= 0 and (mask is None or (action < len(mask) and bool(mask[action])))
        return action if legal else -1

    def _play(self, policy: Any, action: int, until_s: float) -> float:
        fork = self._simulator.fork()
        try:
            return play(fork, self._observer.fork(fork), copy.deepcopy(policy), action, until_s)
        except (Exception, SystemExit):
            if policy is self._guarded.fallback:
                raise
            return inf
