"""A guard: its checks in the order of their cost, and the supervisor that weighs what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, get_args

from ...traces.errors import HandrailError
from .checks.base import Check, ExecutionWatcher
from .checks.base import Stage as CheckStage
from .context import CheckContext
from .rollout import Stage
from .supervisor import State, Supervisor, SupervisorConfig
from .verdict import VERDICT_KINDS, Verdict, accepted_by

_WAITING = {
    reason: Verdict("veto", "supervisor", reason) for reason in ("open", "awaiting-probe-outcomes", "control-block")
}
_SHADOW = Verdict("veto", "supervisor", "shadow")
_UNCHECKED = accepted_by("none")
_STAGES: tuple[str, ...] = get_args(CheckStage)
_UNUSABLE = Verdict("veto", "supervisor", "unusable-proposal")

Charge = Literal["none", "nominal"]
"""What of the checks' cost is added to the decision latency: nothing, or the nominal cost of those that ran."""


class Guard:
    """Judges decisions one after another, for one run; holds the state of its checks and of its supervisor.

    At each decision :meth:`before` says whether the policy may be asked, and if so :meth:`judge` says whether its
    proposal may be executed; :meth:`executed` is told at the end what was done.

    Attributes:
        sensor_checks, outcome_checks, proposal_checks: The checks of each stage, cheapest first.
        supervisor: Who decides who rules.
        latency_budget_s: How long a policy is waited for, in simulated seconds; None for as long as it takes.
        charge: What of the checks' cost is added to the decision latency.
        said: What each check that ran said at this decision, in order. A new list for each decision.
        distrusts: Whether a check of sensors objected at this decision: what is observed is not to be believed.
        cost_us: Nominal cost of the checks that ran at this decision, in microseconds.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        supervisor: SupervisorConfig,
        latency_budget_s: float | None = None,
        charge: Charge = "none",
    ) -> None:
        """Build a guard.

        Args:
            checks: In any order.
            supervisor: Config of the supervisor.
            latency_budget_s: How long a policy is waited for, in simulated seconds; ``None`` for as long as it takes.
            charge: What of the checks' cost is added to the decision latency.

        Raises:
            HandrailError: Two checks have the same name, or a check has no stage or no cost that there can be.
        """
        names = [check.name for check in checks]
        if len(set(names)) != len(names):
            raise HandrailError(f"the guard's checks must have distinct names, got {', '.join(names)}; remove one")
        for check in checks:
            _check_form(check)
        by_cost = sorted(checks, key=lambda check: check.cost_us)
        self.sensor_checks = tuple(check for check in by_cost if check.stage == "sensors")
        self.outcome_checks = tuple(check for check in by_cost if check.stage == "outcomes")
        self.proposal_checks = tuple(check for check in by_cost if check.stage == "proposal")
        self._watchers = tuple(check for check in by_cost if isinstance(check, ExecutionWatcher))
        self._standing_us = sum(check.cost_us for check in (*self.sensor_checks, *self.outcome_checks))
        self.latency_budget_s = latency_budget_s
        self.charge: Charge = charge
        self.supervisor = Supervisor(supervisor, outcomes_are_judged=bool(self.outcome_checks))
        self.said: list[Verdict] = []
        self.distrusts = False
        self.cost_us = 0.0

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks, in the order in which they are run."""
        return (*self.sensor_checks, *self.outcome_checks, *self.proposal_checks)

    def advance(self, now_s: float, decision: int) -> None:
        """Let simulated time pass up to the decision that comes next."""
        self.supervisor.advance(now_s, decision)

    def before(self, context: CheckContext) -> Verdict | None:
        """Judge what is observed and what has happened so far, before the policy is asked.

        Returns:
            ``None`` where the policy may be asked, else the verdict by which this decision is not its own: the last
            rung's where :attr:`distrusts` is true, else the fallback's.
        """
        supervisor, said = self.supervisor, []
        self.said, self.cost_us = said, self._standing_us
        # Each check of these stages sees every decision: they keep windows of what was observed and of outcomes.
        doubt = self._objection(self.sensor_checks, context) if self.sensor_checks else None
        self.distrusts = doubt is not None
        objection = self._objection(self.outcome_checks, context)
        if supervisor.state is State.HALF_OPEN:
            start = context.spell_start
            known = sum(1 for outcome in context.outcomes if outcome.ruled and outcome.decision >= start)
            supervisor.note_outcomes(context.now_s, context.decision, known)
        elif supervisor.rollout is not None:
            for outcome in context.outcomes:
                supervisor.rollout.note_outcome(outcome.decision, outcome.ruled, outcome.violated)
            supervisor.review_rollout(context.now_s, context.decision)
        if doubt is not None:
            return doubt
        if objection is not None:
            return objection
        return None if supervisor.asks else _WAITING[supervisor.waits_for]

    def _objection(self, checks: Sequence[Check], context: CheckContext) -> Verdict | None:
        """Run all of ``checks``: the last trip, else the first veto, else None. A trip opens the supervisor."""
        objection: Verdict | None = None
        for check in checks:
            verdict = check.judge(context)
            self.said.append(verdict)
            kind = verdict.kind
            if kind == "accept":
                continue
            if kind == "trip" or (kind == "veto" and objection is None):
                objection = verdict
            elif kind != "veto":
                raise _unknown_kind(check, verdict)
        if objection is not None and objection.kind == "trip":
            self.supervisor.trip(context.now_s, context.decision, objection.reason)
        return objection

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal: the first objection of the checks, cheapest first, or the last one's ``accept``.

        In the shadow of a roll-out it is judged all the same, and what is returned is the supervisor's veto.
        """
        verdict, fault, said = _UNCHECKED, False, self.said
        for check in self.proposal_checks:
            verdict = check.judge(context)
            said.append(verdict)
            self.cost_us += check.cost_us
            if verdict.kind != "accept":
                if verdict.kind not in VERDICT_KINDS:
                    raise _unknown_kind(check, verdict)
                fault = check.fault
                break
        else:
            # With no contract check listed a proposal that is no action still cannot be executed.
            if not 0 <= context.action < context.layout.n_replicas or context.error:
                verdict, fault = _UNUSABLE, True
        supervisor = self.supervisor
        shadow = supervisor.stage is Stage.SHADOW  # asked before the verdict is weighed, since that may demote
        agreed = context.action == context.fallback_action
        supervisor.note_verdict(context.now_s, context.decision, verdict, fault, agreed)
        return _SHADOW if shadow else verdict

    def executed(self, context: CheckContext, action: int) -> None:
        """Tell the checks that keep account of it what is executed at this decision."""
        for check in self._watchers:
            check.note_executed(context, action)


def _check_form(check: Check) -> None:
    """Refuse a check that would never be run, or that has no place in the order of costs.

    Raises:
        HandrailError: It is such a check.
    """
    if check.stage not in _STAGES:
        raise HandrailError(f"check {check.name!r}: its stage is {check.stage!r}; it must be one of {_or(_STAGES)}")
    cost_us: Any = check.cost_us
    if isinstance(cost_us, bool) or not isinstance(cost_us, Real) or not 0.0 <= float(cost_us) < math.inf:
        raise HandrailError(
            f"check {check.name!r}: its cost_us is {cost_us!r}; it must be a finite number of microseconds, 0 or more"
        )


def _unknown_kind(check: Check, verdict: Verdict) -> HandrailError:
    return HandrailError(
        f"check {check.name!r}: its verdict is of kind {verdict.kind!r}; it must be one of {_or(VERDICT_KINDS)}"
    )


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
