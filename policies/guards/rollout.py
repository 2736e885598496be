"""A staged roll-out in simulated time: the policy in the shadow, on a canary share, in full."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Literal, NamedTuple

from pydantic import Field

from .checks.base import GuardModel


class Stage(IntEnum):
    """How far the roll-out has come."""

    SHADOW = 0
    """The policy is asked and judged; the fallback's action is executed."""
    CANARY = 1
    """The policy rules in a share of the blocks of time; the other blocks are the concurrent control."""
    FULL = 2
    """The policy rules, except in the share of blocks that is kept as a control."""

    @property
    def label(self) -> str:
        """The name in lower case, as configs and logs show it."""
        return self.name.lower()


StageName = Literal["shadow", "canary", "full"]


class RolloutConfig(GuardModel):
    """Config of :class:`Rollout`.

    Attributes:
        start: Stage at the start of a run.
        demote_to: Stage from which it starts again after the supervisor opened (it is never raised by that).
        block_s: Length of a block of simulated time, in seconds. Longer than most items are in the system, since what
            one block leaves behind is charged to the next.
        canary_share: Share of the blocks in which the policy rules in ``canary``.
        control_share: Share of the blocks that the fallback keeps in ``full``, for checks that need a concurrent
            control.
        min_stage_s: Least time closed in a stage before it is promoted, in seconds.
        shadow_decisions: Proposals that are judged in ``shadow`` before it is promoted.
        canary_decisions: The same in ``canary``.
        canary_outcomes: Outcomes that must be known in ``canary`` of the policy's blocks, and as many of the control's.
        objection_share: Largest share of those proposals that the checks may have objected to.
        margin_share: By how much the policy's share of violations may be above the control's.
    """

    start: StageName = "shadow"
    demote_to: StageName = "shadow"
    block_s: float = Field(default=60.0, gt=0)
    canary_share: float = Field(default=0.25, gt=0, lt=1)
    control_share: float = Field(default=0.0, ge=0, lt=1)
    min_stage_s: float = Field(default=120.0, ge=0)
    shadow_decisions: int = Field(default=500, ge=1)
    canary_decisions: int = Field(default=500, ge=1)
    canary_outcomes: int = Field(default=200, ge=0)
    objection_share: float = Field(default=0.1, ge=0, le=1)
    margin_share: float = Field(default=0.02, ge=0, le=1)


class StageChange(NamedTuple):
    """One change of stage.

    Attributes:
        now_s: When, in simulated seconds.
        decision: At which decision.
        before: Stage that was left.
        after: Stage that was entered.
        cause: Reason code: ``promoted``, or why the supervisor opened.
    """

    now_s: float
    decision: int
    before: Stage
    after: Stage
    cause: str


def block_taken(now_s: float, block_s: float, share: float) -> bool:
    """Whether the block of time that ``now_s`` is in belongs to a share of the blocks.

    Blocks are counted from time 0 and taken as evenly as they can be: of any n blocks in a row fewer than n x share + 1
    are taken, and more than n x share - 1.
    """
    block = math.floor(now_s / block_s)
    return math.floor((block + 1) * share) > math.floor(block * share)


class Rollout:
    """Which stage the policy is in, and whether it rules in the present block of time.

    Told by the supervisor what was judged and how things turned out while it was closed; a promotion needs proposals
    with few objections and, from ``canary`` on to ``full``, a share of violations that is not above that of the
    concurrent control. Where one of these fails the counting starts anew.

    Attributes:
        stage: The present stage.
        changes: Every change of stage so far, oldest first.
        shadow_proposals: Proposals judged in the shadow so far.
        shadow_agreed: How many of these were the fallback's action.
        shadow_objections: How many of these the checks objected to.
    """

    def __init__(self, config: RolloutConfig, *, outcomes_are_judged: bool) -> None:
        """Start at the config's stage.

        Args:
            config: Shares, times and counts.
            outcomes_are_judged: Whether the guard has a check of outcomes; without one none is waited for.
        """
        self._config = config
        self._outcomes_needed = config.canary_outcomes if outcomes_are_judged else 0
        self.stage = Stage[config.start.upper()]
        self._demote_to = Stage[config.demote_to.upper()]
        self.changes: list[StageChange] = []
        self.shadow_proposals = self.shadow_agreed = self.shadow_objections = 0
        self._since_s: float | None = None
        self._restart(0)

    def policys_block(self, now_s: float) -> bool:
        """Whether the policy is asked in the block of time that ``now_s`` is in."""
        config = self._config
        if self.stage is Stage.SHADOW:
            return True
        if self.stage is Stage.CANARY:
            return block_taken(now_s, config.block_s, config.canary_share)
        return not block_taken(now_s, config.block_s, config.control_share)

    def resume(self, now_s: float, decision: int) -> None:
        """The supervisor has closed: count anew from here."""
        self._since_s = now_s
        self._restart(decision)

    def note_judged(self, objected: bool, agreed: bool) -> None:
        """Take what the checks said of one proposal, and whether it was the fallback's action."""
        self._proposals += 1
        self._objections += objected
        if self.stage is Stage.SHADOW:
            self.shadow_proposals += 1
            self.shadow_agreed += agreed
            self.shadow_objections += objected

    def note_outcome(self, decision: int, ruled: bool, violated: bool) -> None:
        """Take one outcome; those of decisions before the present count are not of it."""
        if decision >= self._first_decision:
            self._known[ruled] += 1
            self._violated[ruled] += violated

    def review(self, now_s: float, decision: int) -> None:
        """Promote where the stage has been passed; called once a decision while closed."""
        if self._since_s is None:
            self._since_s = now_s
        if self.stage is Stage.FULL or now_s - self._since_s < self._config.min_stage_s:
            return
        shadow = self.stage is Stage.SHADOW
        if self._proposals < (self._config.shadow_decisions if shadow else self._config.canary_decisions):
            return
        if not shadow and min(self._known) < self._outcomes_needed:
            return
        if self._passed(shadow):
            self._enter(Stage(self.stage + 1), now_s, decision, "promoted")
            self._since_s = now_s
        self._restart(decision)

    def demote(self, now_s: float, decision: int, cause: str) -> None:
        """The supervisor opened: go back, if not already there."""
        if self.stage > self._demote_to:
            self._enter(self._demote_to, now_s, decision, cause)
        self._restart(decision)

    def _passed(self, shadow: bool) -> bool:
        if self._objections > self._config.objection_share * self._proposals:
            return False
        (control_known, policy_known), (control_bad, policy_bad) = self._known, self._violated
        if shadow or not (control_known and policy_known):
            return True
        return policy_bad / policy_known <= control_bad / control_known + self._config.margin_share

    def _enter(self, stage: Stage, now_s: float, decision: int, cause: str) -> None:
        self.changes.append(StageChange(now_s, decision, self.stage, stage, cause))
        self.stage = stage

    def _restart(self, decision: int) -> None:
        self._first_decision = decision
        self._proposals = self._objections = 0
        self._known, self._violated = [0, 0], [0, 0]
