"""The rate limit: how often a policy may change what is in force, where changing costs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class RateLimitConfig(CheckModel):
    """Config of :class:`RateLimitCheck`.

    Attributes:
        burst_changes: Most changes at once; what the bucket holds.
        changes_per_s: How fast changes come back, in simulated time.
        changes_per_decision: How fast they come back beside that, with decisions.
        current_field: Per-replica field that is 1 in the row that is in force now; empty: what was executed last is.
    """

    check: Literal["rate-limit"] = "rate-limit"
    burst_changes: float = Field(default=10.0, ge=1)
    changes_per_s: float = Field(default=0.0, ge=0)
    changes_per_decision: float = Field(default=0.0, ge=0)
    current_field: str = ""

    @model_validator(mode="after")
    def _changes_come_back(self) -> Self:
        if self.changes_per_s == 0.0 and self.changes_per_decision == 0.0:
            raise ValueError("give changes_per_s or changes_per_decision, else no change ever comes back")
        return self


class RateLimitCheck:
    """Vetoes a change of what is in force once the policy has changed it too often (a token bucket).

    A *change* is an executed proposal that is neither what is in force nor the fallback's choice; each takes a token.
    Over any stretch of T seconds and n decisions at most ``burst_changes + changes_per_s * T + changes_per_decision *
    n`` of them are executed: there is at most a full bucket at its start. The fallback's own choice passes, and a veto
    puts it in force, which may be a change too; so changes that the fallback would not have made (there and back) are
    at most twice that many.

    Reason codes: ``changes-over-rate``, ``out-of-range``.
    """

    name = "rate-limit"
    stage: Stage = "proposal"
    cost_us = 0.5
    fault = False

    def __init__(self, config: RateLimitConfig, layout: Layout) -> None:
        if config.current_field:
            layout.replica(layout.low, config.current_field)  # an unknown field is the user's mistake now
        self._config = config
        self._layout = layout
        self._accept = accepted_by(self.name)
        self._tokens = config.burst_changes
        self._since: tuple[float, int] | None = None
        self._last_action = -1

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal by the changes that were made so far."""
        if not 0 <= context.action < self._layout.n_replicas:
            return Verdict("veto", self.name, "out-of-range")
        if not self._is_change(context, context.action):
            return self._accept
        tokens = self._tokens_at(context)
        if tokens >= 1.0:
            return self._accept
        return Verdict("veto", self.name, "changes-over-rate", (("tokens", tokens),))

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Keep the account; called at every decision, whoever rules."""
        self._tokens = self._tokens_at(context) - self._is_change(context, action)
        self._since = (context.now_s, context.decision)
        self._last_action = action

    def _is_change(self, context: CheckContext, action: int) -> bool:
        if action == context.fallback_action:
            return False
        if self._config.current_field:
            return not self._layout.replica(context.observation, self._config.current_field)[action] > 0.0
        return self._last_action >= 0 and action != self._last_action

    def _tokens_at(self, context: CheckContext) -> float:
        if self._since is None:
            return self._tokens
        since_s, since = self._since
        back = self._config.changes_per_s * (context.now_s - since_s)
        back += self._config.changes_per_decision * (context.decision - since)
        return min(self._tokens + back, self._config.burst_changes)
