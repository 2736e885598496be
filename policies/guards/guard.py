"""A guard: its checks in the order of their cost, and the supervisor that weighs what they say."""

from __future__ import annotations

from collections.abc import Sequence

from ...traces.errors import HandrailError
from .checks.base import Check, ExecutionWatcher
from .context import CheckContext
from .supervisor import State, Supervisor, SupervisorConfig
from .verdict import Verdict, accepted_by

_OPEN = Verdict("veto", "supervisor", "open")
_AWAITING = Verdict("veto", "supervisor", "awaiting-probe-outcomes")
_UNCHECKED = accepted_by("none")


class Guard:
    """Judges decisions one after another, for one run; holds the state of its checks and of its supervisor.

    At each decision :meth:`before` says whether the policy may be asked, and if so :meth:`judge` says whether its
    proposal may be executed; :meth:`executed` is told at the end what was done.
    """

    def __init__(
        self, checks: Sequence[Check], supervisor: SupervisorConfig, latency_budget_s: float | None = None
    ) -> None:
        """Build a guard.

        Args:
            checks: In any order.
            supervisor: Config of the supervisor.
            latency_budget_s: How long a policy is waited for, in simulated seconds; ``None`` for as long as it takes.

        Raises:
            HandrailError: Two checks have the same name.
        """
        names = [check.name for check in checks]
        if len(set(names)) != len(names):
            raise HandrailError(f"the guard's checks must have distinct names, got {', '.join(names)}; remove one")
        by_cost = sorted(checks, key=lambda check: check.cost_us)
        self.outcome_checks = tuple(check for check in by_cost if check.stage == "outcomes")
        self.proposal_checks = tuple(check for check in by_cost if check.stage == "proposal")
        self._watchers = tuple(check for check in by_cost if isinstance(check, ExecutionWatcher))
        self.latency_budget_s = latency_budget_s
        self.supervisor = Supervisor(supervisor, outcomes_are_judged=bool(self.outcome_checks))

    def advance(self, now_s: float, decision: int) -> None:
        """Let simulated time pass up to the decision that comes next."""
        self.supervisor.advance(now_s, decision)

    def before(self, context: CheckContext) -> Verdict | None:
        """Judge what has happened so far, before the policy is asked.

        Returns:
            ``None`` where the policy may be asked, else the verdict by which this decision is the fallback's.
        """
        supervisor = self.supervisor
        objection: Verdict | None = None
        for check in self.outcome_checks:  # each sees every decision: they keep windows of outcomes
            verdict = check.judge(context)
            if verdict.kind == "trip" or (verdict.kind == "veto" and objection is None):
                objection = verdict
        if objection is not None and objection.kind == "trip":
            supervisor.trip(context.now_s, context.decision, objection.reason)
        if supervisor.state is State.HALF_OPEN:
            start = context.spell_start
            known = sum(1 for outcome in context.outcomes if outcome.ruled and outcome.decision >= start)
            supervisor.note_outcomes(context.now_s, context.decision, known)
        if objection is not None:
            return objection
        if supervisor.asks:
            return None
        return _OPEN if supervisor.state is State.OPEN else _AWAITING

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal: the first objection of the checks, cheapest first, or the last one's ``accept``."""
        verdict, fault = _UNCHECKED, False
        for check in self.proposal_checks:
            verdict = check.judge(context)
            if verdict.kind != "accept":
                fault = check.fault
                break
        else:
            # With no contract check listed a proposal that is no action still cannot be executed.
            if not 0 <= context.action < context.layout.n_replicas or context.error:
                verdict, fault = Verdict("veto", "supervisor", "unusable-proposal"), True
        self.supervisor.note_verdict(context.now_s, context.decision, verdict, fault)
        return verdict

    def executed(self, context: CheckContext, action: int) -> None:
        """Tell the checks that keep account of it what is executed at this decision."""
        for check in self._watchers:
            check.note_executed(context, action)
