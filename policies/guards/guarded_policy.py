"""A learned policy behind a guard: itself a policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from ..interface import Feedback, Policy
from .context import CheckContext, JudgedOutcome, read_action
from .guard import Guard
from .recorder import DecisionRecorder


class GuardedState(NamedTuple):
    """The states of the two policies, as ``predict`` returns and takes them."""

    policy: Any = None
    fallback: Any = None


class GuardedPolicy:
    """Asks the policy where the supervisor lets it and executes what the checks accept, else the fallback's action.

    The fallback is asked at every decision, first, so that its state is kept and nothing that the policy does can
    reach it; its exceptions and its illegal actions are not contained, since nothing stands behind it. The policy gets
    copies of the observation and of the action mask. Its exceptions (``SystemExit`` among them) are contained.

    One object serves one run: ``notify`` must come before each ``predict``, with decisions numbered from 0.

    Decision latency is declared, simulated time. The two policies are taken to run one after the other: a decision
    takes the fallback's latency plus what was waited for the policy, which is its declared latency, cut at the
    contract's budget (a policy beyond the budget is given up there and the fallback's action taken), and 0 where it was
    not asked. Without a contract check the wait is not cut.

    Attributes:
        name: ``guarded(<name of the policy>)``.
        policy: The learned policy.
        fallback: The policy that rules where it does not.
        guard: Checks and supervisor.
        recorder: The decision log.
        last_error: Type and text of the last exception of the policy, empty where it raised none.
    """

    def __init__(self, policy: Policy, fallback: Policy, guard: Guard, layout: Layout) -> None:
        self.policy = policy
        self.fallback = fallback
        self.guard = guard
        self.recorder = DecisionRecorder()
        self.name = f"guarded({getattr(policy, 'name', type(policy).__name__)})"
        self.last_error = ""
        self._layout = layout
        self._n_actions = layout.n_replicas
        self._notify_policy = getattr(policy, "notify", None)
        self._notify_fallback = getattr(fallback, "notify", None)
        self._feedback: Feedback | None = None
        self._notify_error = ""
        self._latency_s = 0.0
        self._learned = 0
        self._wait_limit_s = guard.latency_budget_s

    @property
    def latency_s(self) -> float:
        """Decision latency of the last decision, in simulated seconds."""
        return self._latency_s

    @property
    def state(self) -> str:
        """The supervisor's state: ``closed``, ``open`` or ``half-open``."""
        return self.guard.supervisor.state.label

    @property
    def availability(self) -> float:
        """Share of the decisions so far that were executed from the policy's proposal; 0 before the first."""
        return self._learned / max(len(self.recorder), 1)

    @property
    def interventions(self) -> dict[str, int]:
        """Decisions that were the fallback's, by reason code."""
        return self.recorder.interventions()

    @property
    def difference(self) -> float:
        """Share of the policy's usable proposals that differ from the fallback's action; 0 where there are none."""
        proposed = self.recorder.column("proposed")
        usable = proposed >= 0
        return float(np.mean((proposed != self.recorder.column("fallback"))[usable])) if usable.any() else 0.0

    def notify(self, feedback: Feedback) -> None:
        """Take the time, the legal actions and the outcomes since the last decision; pass them on to both policies.

        Raises:
            HandrailError: The decision is not the next one, or an outcome is of a decision not yet made.
        """
        expected = len(self.recorder)
        if feedback.decision != expected:
            raise HandrailError(
                f"the guarded policy expects decision {expected}, got {feedback.decision}; "
                "number decisions from 0 and build a new guard for each run"
            )
        if any(not 0 <= outcome.decision < expected for outcome in feedback.outcomes):
            raise HandrailError(f"an outcome names a decision that was not yet made at decision {expected}")
        self._feedback = feedback
        if self._notify_fallback is not None:
            self._notify_fallback(feedback)
        if self._notify_policy is not None:
            mask = None if feedback.action_mask is None else feedback.action_mask.copy()
            try:
                self._notify_policy(Feedback(feedback.now_s, feedback.decision, mask, tuple(feedback.outcomes)))
            except (Exception, SystemExit) as error:
                self._notify_error = self.last_error = _describe(error)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[int, GuardedState]:
        """Decide, and record the decision.

        Args:
            observation: Shape (layout.size,), float32; never written to.
            state: What the last call returned, or ``None`` at the start.
            episode_start: Passed on to both policies.
            deterministic: Passed on to both policies.

        Raises:
            HandrailError: ``notify`` was not called for this decision.
        """
        feedback = self._feedback
        if feedback is None:
            raise HandrailError("call notify(feedback) before each predict: the guard needs the simulated time")
        self._feedback = None
        policy_state, fallback_state = state if state is not None else (None, None)
        raw, fallback_state = self.fallback.predict(observation, fallback_state, episode_start, deterministic)
        fallback_action = int(raw)
        latency_s = float(getattr(self.fallback, "latency_s", 0.0))

        guard, recorder, now_s, decision = self.guard, self.recorder, feedback.now_s, feedback.decision
        guard.advance(now_s, decision)
        context = CheckContext(
            observation,
            self._layout,
            now_s,
            decision,
            feedback.action_mask,
            fallback_action,
            [JudgedOutcome(o.decision, o.violated, o.value, recorder.asked(o.decision)) for o in feedback.outcomes],
            guard.supervisor.spell_start,
        )
        verdict = guard.before(context)
        ruling = guard.supervisor.state
        asked = verdict is None
        if verdict is None:
            policy_state = self._ask(context, policy_state, episode_start, deterministic)
            verdict = guard.judge(context)
            latency_s += self._waited_s(context.latency_s)
        self._notify_error = ""
        learned = verdict.kind == "accept"
        executed = context.action if learned else fallback_action
        guard.executed(context, executed)
        self._learned += learned
        self._latency_s = latency_s
        proposed = context.action if 0 <= context.action < self._n_actions else -1
        recorder.append(now_s, proposed, fallback_action, executed, asked, learned, ruling, verdict)
        return executed, GuardedState(policy_state, fallback_state)

    def _ask(self, context: CheckContext, state: Any, episode_start: Any, deterministic: bool) -> Any:
        """Put the policy's proposal into the context, whatever becomes of it; return the policy's next state."""
        if self._notify_error:
            context.error = self._notify_error
            return None
        try:
            answer = self.policy.predict(context.observation.copy(), state, episode_start, deterministic)
            latency_s = float(getattr(self.policy, "latency_s", 0.0))
            if not isinstance(answer, tuple) or len(answer) != 2:
                context.malformed = "wrong-shape"
                return None
            context.proposal = answer[0]
            context.action, context.malformed = read_action(answer[0])
        except (Exception, SystemExit) as error:
            context.error = self.last_error = _describe(error)
            return None  # a state that an exception may have left half-made is not handed back
        context.latency_s = latency_s
        return answer[1]

    def _waited_s(self, declared_s: float) -> float:
        """How long the policy was waited for; a declaration that is no duration costs the whole budget."""
        if self._wait_limit_s is None:
            return declared_s if 0.0 <= declared_s < float("inf") else 0.0
        return declared_s if 0.0 <= declared_s <= self._wait_limit_s else self._wait_limit_s


def _describe(error: BaseException) -> str:
    """Type and text of an exception, even of one whose text cannot be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
