"""Who rules: a circuit breaker in simulated time, between the learned policy and its fallback."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from .checks.base import GuardModel
from .rollout import Rollout, RolloutConfig, Stage
from .verdict import Verdict


class State(IntEnum):
    """State of the supervisor."""

    CLOSED = 0
    """The policy rules."""
    OPEN = 1
    """The fallback rules; the policy is not asked."""
    HALF_OPEN = 2
    """The policy makes a bounded number of probes, then the fallback rules until their outcomes are known."""

    @property
    def label(self) -> str:
        """The name in lower case with hyphens, as logs and figures show it."""
        return self.name.lower().replace("_", "-")


class Transition(NamedTuple):
    """One change of state.

    Attributes:
        now_s: When, in simulated seconds.
        decision: At which decision.
        before: State that was left.
        after: State that was entered.
        cause: Reason code.
        until_s: Before when an opening does not end, in simulated seconds; None for the other states, which end with
            what happens in them.
    """

    now_s: float
    decision: int
    before: State
    after: State
    cause: str
    until_s: float | None = None


class SupervisorConfig(GuardModel):
    """Config of :class:`Supervisor`.

    Attributes:
        min_dwell_s: How long the first opening lasts, in simulated seconds.
        backoff_factor: By how much each further opening lasts longer than the one before.
        max_dwell_s: Longest opening.
        healthy_reset_s: After so long closed without a break the next opening lasts ``min_dwell_s`` again.
        probe_decisions: Most decisions that the policy makes in one half-open spell.
        probe_outcomes: How many outcomes of those must be known before it closes (where outcomes are judged at all).
        probe_timeout_s: How long those outcomes are waited for after the last probe; probes that do not come back are
            no sign of health, so it opens again.
        faults_in_a_row: So many faults (contract violations) in a row open it; in a half-open spell the first does.
        veto_window_decisions: Over how many of the latest proposals the share of vetoes is taken.
        veto_share_limit: A share of vetoes above this opens it: a policy that must be held back so often does not fit
            the load it meets.
        rollout: Stages through which the policy comes to rule; None where it rules from the start.
    """

    min_dwell_s: float = Field(default=30.0, gt=0)
    backoff_factor: float = Field(default=2.0, ge=1)
    max_dwell_s: float = Field(default=900.0, gt=0)
    healthy_reset_s: float = Field(default=600.0, gt=0)
    probe_decisions: int = Field(default=32, ge=1)
    probe_outcomes: int = Field(default=24, ge=0)
    probe_timeout_s: float = Field(default=120.0, gt=0)
    faults_in_a_row: int = Field(default=3, ge=1)
    veto_window_decisions: int = Field(default=500, ge=1)
    veto_share_limit: float = Field(default=0.3, gt=0, le=1)
    rollout: RolloutConfig | None = None

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.max_dwell_s < self.min_dwell_s:
            raise ValueError("max_dwell_s must be at least min_dwell_s")
        if self.probe_outcomes > self.probe_decisions:
            raise ValueError("probe_outcomes must not exceed probe_decisions")
        return self


class Supervisor:
    """Decides at each decision whether the policy is asked, from verdicts and the clock alone.

    At each decision, in this order: :meth:`advance`, then :meth:`trip` if an outcome check tripped, then
    :meth:`note_outcomes`, then, where :attr:`asks` is true, the policy is asked and :meth:`note_verdict` is told what
    the checks said. Opening is never delayed; closing is, by dwell, probes and their outcomes.

    With a roll-out, opening also sends the policy back to an earlier stage, and in blocks of time that are not the
    policy's it is not asked. In the shadow there is nothing to probe: an opening that is over closes at once.

    Attributes:
        rollout: The roll-out, None without one.
        state: The present state.
        spell_start: First decision of the present spell of the policy's rule (while open: the first after it ended).
        transitions: Every change of state so far, oldest first.
    """

    def __init__(self, config: SupervisorConfig, *, outcomes_are_judged: bool) -> None:
        """Start closed.

        Args:
            config: Times and counts.
            outcomes_are_judged: Whether the guard has a check of outcomes; without one a half-open spell ends with its
                last probe and is judged by vetoes alone.
        """
        self._config = config
        self.rollout: Rollout | None = None
        if config.rollout is not None:
            self.rollout = Rollout(config.rollout, outcomes_are_judged=outcomes_are_judged)
        self._policys_block = True
        self._outcomes_needed = config.probe_outcomes if outcomes_are_judged else 0
        self._most_probe_vetoes = config.veto_share_limit * config.probe_decisions
        self._most_window_vetoes = config.veto_share_limit * config.veto_window_decisions
        self.state = State.CLOSED
        self.spell_start = 0
        self.transitions: list[Transition] = []
        self._dwell_s = config.min_dwell_s
        self._open_until_s = 0.0
        self._closed_since_s: float | None = None
        self._probes_left = 0
        self._probe_outcomes = 0
        self._probe_vetoes = 0
        self._last_probe_s = 0.0
        self._forget_verdicts()

    @property
    def asks(self) -> bool:
        """Whether the policy is asked at this decision."""
        ready = self.state is State.CLOSED or (self.state is State.HALF_OPEN and self._probes_left > 0)
        return ready and self._policys_block

    @property
    def stage(self) -> Stage:
        """Stage of the roll-out; ``full`` without one."""
        return Stage.FULL if self.rollout is None else self.rollout.stage

    @property
    def waits_for(self) -> str:
        """Why the policy is not asked, where it is not: a reason code."""
        if self.state is State.OPEN:
            return "open"
        return "awaiting-probe-outcomes" if self._policys_block else "control-block"

    @property
    def next_dwell_s(self) -> float:
        """How long the next opening would last, in simulated seconds."""
        return self._dwell_s

    def advance(self, now_s: float, decision: int) -> None:
        """Let time pass up to this decision: an opening that is over becomes half-open, long health resets backoff."""
        if self.state is State.CLOSED:
            if self._closed_since_s is None:
                self._closed_since_s = now_s
            elif now_s - self._closed_since_s >= self._config.healthy_reset_s:
                self._dwell_s = self._config.min_dwell_s
        elif self.state is State.OPEN and now_s >= self._open_until_s:
            self.spell_start = decision
            if self.stage is Stage.SHADOW:
                self._close(now_s, decision, "dwell-over")
            else:
                self._enter(State.HALF_OPEN, now_s, decision, "dwell-over")
                self._probes_left = self._config.probe_decisions
                self._probe_outcomes = 0
                self._probe_vetoes = 0
                self._forget_verdicts()
        if self.rollout is not None:
            self._policys_block = self.rollout.policys_block(now_s)

    def trip(self, now_s: float, decision: int, cause: str) -> None:
        """An outcome check tripped: open at once (no effect where it is open already)."""
        if self.state is not State.OPEN:
            self._open(now_s, decision, cause)

    def note_outcomes(self, now_s: float, decision: int, known: int) -> None:
        """Take ``known`` more outcomes of the present spell; once enough probes came back unharmed, close."""
        if self.state is not State.HALF_OPEN:
            return
        self._probe_outcomes += known
        if self._probes_left > 0:
            return
        if self._probe_outcomes >= self._outcomes_needed:
            self._close(now_s, decision, "probes-passed")
        elif now_s - self._last_probe_s >= self._config.probe_timeout_s:
            self._open(now_s, decision, "probe-outcomes-missing")

    def review_rollout(self, now_s: float, decision: int) -> None:
        """Let the roll-out promote the policy; called after the outcomes that became known were given to it."""
        rollout = self.rollout
        if rollout is None or self.state is not State.CLOSED:
            return
        stage = rollout.stage
        rollout.review(now_s, decision)
        if rollout.stage is not stage:
            self._policys_block = rollout.policys_block(now_s)
            if stage is Stage.SHADOW:
                self.spell_start = decision  # only from here on it rules

    def note_verdict(self, now_s: float, decision: int, verdict: Verdict, fault: bool, agreed: bool = False) -> None:
        """Take the checks' verdict on the policy's proposal.

        Args:
            now_s: Simulated time, in seconds.
            decision: Number of the decision.
            verdict: The first objection, or an ``accept``.
            fault: Whether the check that vetoes names faults.
            agreed: Whether the proposal was the fallback's action.
        """
        vetoed = verdict.kind != "accept"
        if self.rollout is not None and self.state is State.CLOSED:
            self.rollout.note_judged(vetoed, agreed)
        self._faults = self._faults + 1 if vetoed and fault else 0
        if self.state is State.HALF_OPEN:
            self._probes_left -= 1
            self._last_probe_s = now_s
            self._probe_vetoes += vetoed
            if verdict.kind == "trip" or self._faults:
                self._open(now_s, decision, verdict.reason)
            elif self._probe_vetoes > self._most_probe_vetoes:
                self._open(now_s, decision, "vetoes-over-limit")
            return
        slot = self._proposals % self._config.veto_window_decisions
        self._vetoes += vetoed - self._veto_ring[slot]
        self._veto_ring[slot] = vetoed
        self._proposals += 1
        if verdict.kind == "trip" or self._faults >= self._config.faults_in_a_row:
            self._open(now_s, decision, verdict.reason)
        elif self._vetoes > self._most_window_vetoes:
            self._open(now_s, decision, "vetoes-over-limit")

    def _open(self, now_s: float, decision: int, cause: str) -> None:
        self._open_until_s = now_s + self._dwell_s
        self._enter(State.OPEN, now_s, decision, cause, self._open_until_s)
        self.spell_start = decision + 1
        if self.rollout is not None:
            self.rollout.demote(now_s, decision, cause)
        self._dwell_s = min(self._dwell_s * self._config.backoff_factor, self._config.max_dwell_s)

    def _close(self, now_s: float, decision: int, cause: str) -> None:
        self._enter(State.CLOSED, now_s, decision, cause)
        self._closed_since_s = now_s
        self._forget_verdicts()
        if self.rollout is not None:
            self.rollout.resume(now_s, decision)

    def _enter(self, state: State, now_s: float, decision: int, cause: str, until_s: float | None = None) -> None:
        self.transitions.append(Transition(now_s, decision, self.state, state, cause, until_s))
        self.state = state

    def _forget_verdicts(self) -> None:
        self._faults = 0
        self._proposals = 0
        self._vetoes = 0
        self._veto_ring = bytearray(self._config.veto_window_decisions)
