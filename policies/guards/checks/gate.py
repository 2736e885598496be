"""The gate: while the backing tier is busy, nobody prefetches more than the fallback would."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import GuardModel, Stage

RATE_FIELDS = ("issue_rate", "issue_rate_64")
"""Per-arm fields: fetches an access that the arm would issue, over a long and a short stretch of accesses."""


class GateConfig(GuardModel):
    """Config of :class:`GateCheck`; the thresholds of Limoncello (ASPLOS'24) and the same for the queueing delay.

    Attributes:
        close_above: Share of the tier's time in use above which the gate closes.
        open_below: Share below which it opens again.
        close_above_delay: Queueing delay over an unloaded miss above which it closes.
        open_below_delay: Queueing delay over an unloaded miss below which it opens again.
    """

    check: Literal["gate"] = "gate"
    close_above: float = Field(default=0.8, gt=0, le=1)
    open_below: float = Field(default=0.6, ge=0, le=1)
    close_above_delay: float = Field(default=4.0, gt=0)
    open_below_delay: float = Field(default=2.0, ge=0)

    @model_validator(mode="after")
    def _lower_is_lower(self) -> Self:
        if self.open_below > self.close_above or self.open_below_delay > self.close_above_delay:
            raise ValueError("the gate's lower thresholds must not be above its upper ones")
        return self


class GateCheck:
    """Vetoes, while the gate is closed, an arm that issues more than the fallback's choice.

    The gate closes when utilisation *or* queueing delay is above its upper threshold (or is no number), and opens when
    both are below their lower ones. It watches every decision, whoever rules. What an arm issues is what its shadow
    issued an access of late, over the long stretch and over the short one: both must be at most the fallback's, so that
    an arm which has just woken up does not pass on its quiet past. The fallback's own choice passes, and so does an arm
    that issues nothing.

    Reason codes: ``tier-busy``, ``out-of-range``.
    """

    name = "gate"
    stage: Stage = "proposal"
    cost_us = 1.2
    fault = False

    def __init__(self, config: GateConfig, layout: Layout) -> None:
        for field in RATE_FIELDS:
            layout.replica(layout.low, field)  # a layout without these is the user's mistake now
        layout.scalar(layout.low, "utilisation")
        layout.scalar(layout.low, "queueing_delay")
        self._config = config
        self._layout = layout
        self._accept = accepted_by(self.name)
        self._closed = False

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal by the tier's state now and what the two arms have issued in shadow."""
        action, fallback = context.action, context.fallback_action
        if action == fallback:
            return self._accept
        if not 0 <= action < self._layout.n_replicas:
            return Verdict("veto", self.name, "out-of-range")
        if not self._closed_at(context):
            return self._accept
        for field in RATE_FIELDS:
            rates = self._layout.replica(context.observation, field)
            proposed, limit = float(rates[action]), float(rates[fallback])
            if not proposed <= limit:
                utilisation, delay = self._signals(context)
                evidence = (
                    ("utilisation", utilisation),
                    ("queueing_delay", delay),
                    (field, proposed),
                    ("limit", limit),
                )
                return Verdict("veto", self.name, "tier-busy", evidence)
        return self._accept

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Keep the gate's state; called at every decision, whoever rules."""
        self._closed = self._closed_at(context)

    def _closed_at(self, context: CheckContext) -> bool:
        utilisation, delay = self._signals(context)
        limits = self._config
        if not (utilisation <= limits.close_above and delay <= limits.close_above_delay):
            return True
        if utilisation < limits.open_below and delay < limits.open_below_delay:
            return False
        return self._closed

    def _signals(self, context: CheckContext) -> tuple[float, float]:
        layout, observation = self._layout, context.observation
        return layout.scalar(observation, "utilisation"), layout.scalar(observation, "queueing_delay")
