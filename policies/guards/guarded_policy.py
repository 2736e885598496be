"""A learned policy behind a guard: itself a policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from ..interface import Feedback, Policy
from .context import CheckContext, JudgedOutcome, read_action
from .forecast import Forecaster
from .guard import Guard
from .recorder import FALLBACK, LAST_RUNG, LEARNED, DecisionRecorder
from .rollout import Stage


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
    not asked. Without a contract check the wait is not cut. In the shadow of a roll-out nobody waits for the policy.
    Where the guard charges them, the nominal costs of the checks that ran come on top.

    Where a check of sensors objects, the last rung decides: a policy that needs no telemetry, or without one the
    fallback. It is asked at such decisions alone, but hears of every one.

    Attributes:
        name: ``guarded(<name of the policy>)``.
        policy: The learned policy.
        fallback: The policy that rules where it does not.
        last_rung: The policy that decides where the observation is not to be believed; None for the fallback.
        policy_hash: Names the learned policy's content in the log; empty where it has no hash.
        guard: Checks and supervisor.
        recorder: The decision log.
        last_error: Type and text of the last exception of the policy, empty where it raised none.
    """

    def __init__(
        self,
        policy: Policy,
        fallback: Policy,
        guard: Guard,
        layout: Layout,
        last_rung: Policy | None = None,
        policy_hash: str = "",
    ) -> None:
        self.policy = policy
        self.fallback = fallback
        self.last_rung = last_rung
        self.policy_hash = policy_hash
        self.guard = guard
        self.recorder = DecisionRecorder()
        self.name = f"guarded({_name_of(policy)})"
        self.last_error = ""
        self._layout = layout
        self._n_actions = layout.n_replicas
        self._notify_policy = getattr(policy, "notify", None)
        self._notify_fallback = getattr(fallback, "notify", None)
        self._notify_last_rung = getattr(last_rung, "notify", None)
        self._last_rung_state: Any = None
        self._forecast: Forecaster | None = None
        self._feedback: Feedback | None = None
        self._notify_error = ""
        self._latency_s = 0.0
        self._learned = 0
        self._wait_limit_s = guard.latency_budget_s
        self._charges = guard.charge == "nominal"

    def bind(self, simulator: Any, observer: Any) -> None:
        """Give checks that play actions forward the simulator and the observer of this run.

        Args:
            simulator: The simulator that asks this policy, with ``fork``, ``advance_until``, ``charged_s`` and
                ``hidden_model``; read only, through forks.
            observer: Its observer, with ``fork(simulator)``.

        Raises:
            HandrailError: A check plays the policy's own rule, and the policy cannot be copied.
        """
        asking = [check for check in self.guard.checks if getattr(check, "needs_forecast", False)]
        if not asking:
            return
        seed, factor = getattr(asking[0], "seed", 0), getattr(asking[0], "latency_factor", 1.0)
        follows = any(getattr(check, "follows", False) for check in asking)
        policy = self.policy if follows else None
        self._forecast = Forecaster(simulator, observer, self.fallback, seed, factor, policy, self._n_actions)

    @property
    def watch(self) -> Callable[[Any], None] | None:
        """What must see each decision point before ``predict``; None where nothing is played forward."""
        return None if self._forecast is None else self._forecast.note

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
        if self._notify_last_rung is not None:
            self._notify_last_rung(feedback)
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
        if self._forecast is not None:
            self._forecast.fallback_state = fallback_state
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
            [JudgedOutcome(o.decision, o.violated, o.value, recorder.ruled(o.decision)) for o in feedback.outcomes],
            guard.supervisor.spell_start,
            self._forecast,
        )
        verdict = guard.before(context)
        ruling, stage = guard.supervisor.state, guard.supervisor.stage
        asked = verdict is None
        if verdict is None:
            policy_state = self._ask(context, policy_state, episode_start, deterministic)
            if self._forecast is not None:
                self._forecast.policy_state = policy_state
            standing_us = guard.cost_us
            verdict = guard.judge(context)
            if stage is Stage.SHADOW:
                guard.cost_us = standing_us  # judged beside the decision, not before it
            else:
                latency_s += self._waited_s(context.latency_s)
        self._notify_error = ""
        executed, who = fallback_action, FALLBACK
        if verdict.kind == "accept":
            executed, who = context.action, LEARNED
        elif guard.distrusts and self.last_rung is not None:
            raw, self._last_rung_state = self.last_rung.predict(
                observation, self._last_rung_state, episode_start, deterministic
            )
            executed, who = int(raw), LAST_RUNG
            latency_s += float(getattr(self.last_rung, "latency_s", 0.0))
        if self._charges:
            latency_s += guard.cost_us * 1e-6
        guard.executed(context, executed)
        self._learned += who == LEARNED
        self._latency_s = latency_s
        proposed = context.action if 0 <= context.action < self._n_actions else -1
        recorder.append(now_s, proposed, fallback_action, executed, asked, who, ruling, verdict, guard.said, stage)
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
            votes, values = getattr(self.policy, "votes", None), getattr(self.policy, "values", None)
            if votes is not None:
                context.votes = np.asarray(votes, dtype=np.int64)
            if values is not None:
                context.values = np.asarray(values, dtype=np.float64)
        except (Exception, SystemExit) as error:
            context.error = self.last_error = _describe(error)
            return None  # a state that an exception may have left half-made is not handed back
        context.latency_s = latency_s
        return answer[1]

    def to_table(self, metadata: Mapping[str, str] | None = None) -> pa.Table:
        """The decision log as an Arrow table whose schema says whose it is.

        Its metadata: ``policy``, ``policy_hash``, ``fallback``, ``last_rung`` (empty without one), ``transitions`` and
        ``stages`` (JSON lists of the supervisor's and the roll-out's changes, oldest first), and what is given.

        Args:
            metadata: What the schema is to carry beside these.
        """
        supervisor = self.guard.supervisor
        rollout = supervisor.rollout
        transitions = [
            [t.now_s, t.decision, t.before.label, t.after.label, t.cause, t.until_s] for t in supervisor.transitions
        ]
        stages = [
            [c.now_s, c.decision, c.before.label, c.after.label, c.cause] for c in (rollout.changes if rollout else ())
        ]
        return self.recorder.to_table(
            {
                "policy": _name_of(self.policy),
                "policy_hash": self.policy_hash,
                "fallback": _name_of(self.fallback),
                "last_rung": "" if self.last_rung is None else _name_of(self.last_rung),
                "transitions": json.dumps(transitions, separators=(",", ":")),
                "stages": json.dumps(stages, separators=(",", ":")),
                **(metadata or {}),
            }
        )

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


def _name_of(policy: Any) -> str:
    return str(getattr(policy, "name", type(policy).__name__))
