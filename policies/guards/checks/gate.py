"""The gate: while the backing tier is busy, nobody gives it more work than the fallback would, nor all at once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage

ARM_FIELDS = ("waste", "issue_rate_64", "coverage_64", "degree")
"""Per-arm fields that it reads: waste over a long stretch of accesses, what it is made of over a short one, bursts."""


class GateConfig(CheckModel):
    """Config of :class:`GateCheck`; the thresholds of utilisation are Limoncello's (ASPLOS'24).

    Attributes:
        close_above: Share of the tier's time in use above which the gate closes.
        open_below: Share below which it opens again.
        close_above_delay: Queueing delay over an unloaded miss above which it closes.
        open_below_delay: Queueing delay over an unloaded miss below which it opens again.
        waste_margin: Fetches an access that nobody uses, beyond those of the fallback's arm, that pass a closed gate;
            over the long stretch.
        waste_margin_64: The same over the short stretch.
        most_at_once: Degree up to which an arm passes a closed gate; the fallback's, where that is higher.
    """

    check: Literal["gate"] = "gate"
    close_above: float = Field(default=0.8, gt=0, le=1)
    open_below: float = Field(default=0.6, ge=0, le=1)
    close_above_delay: float = Field(default=1.0, gt=0)
    open_below_delay: float = Field(default=0.5, ge=0)
    waste_margin: float = Field(default=0.02, ge=0)
    waste_margin_64: float = Field(default=0.05, ge=0)
    most_at_once: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _lower_is_lower(self) -> Self:
        if self.open_below > self.close_above or self.open_below_delay > self.close_above_delay:
            raise ValueError("the gate's lower thresholds must not be above its upper ones")
        return self


class GateCheck:
    """Vetoes, while the gate is closed, an arm that gives the tier more work than the fallback's choice, or in bursts.

    The gate closes when utilisation *or* queueing delay is above its upper threshold (or is no number), and opens when
    both are below their lower ones. It watches every decision, whoever rules.

    A prefetch that is used takes the place of a demand fetch, so the work that an arm adds is its *waste*: what its
    shadow issued an access, less the accesses that it foresaw. It may exceed that of the fallback's choice by a small
    margin over the long stretch, and by another over the short one, so that an arm which has just gone astray does not
    pass on its past. Work that is not added can still come all at once: of degree d, up to d fetches stand before
    whoever misses next. So the degree is limited too. The fallback's own choice passes, and so does an arm that issues
    nothing.

    Reason codes: ``tier-busy`` (too much waste), ``burst-at-busy-tier``, ``out-of-range``.
    """

    name = "gate"
    stage: Stage = "proposal"
    cost_us = 1.2
    fault = False

    def __init__(self, config: GateConfig, layout: Layout) -> None:
        for field in ARM_FIELDS:
            layout.replica(layout.low, field)  # a layout without these is the user's mistake now
        layout.scalar(layout.low, "utilisation")
        layout.scalar(layout.low, "queueing_delay")
        self._config = config
        self._layout = layout
        self._accept = accepted_by(self.name)
        self._closed = False

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal by the tier's state now and by what the two arms have wasted in shadow."""
        action, fallback = context.action, context.fallback_action
        if action == fallback:
            return self._accept
        if not 0 <= action < self._layout.n_replicas:
            return Verdict("veto", self.name, "out-of-range")
        if not self._closed_at(context):
            return self._accept
        degrees = self._layout.replica(context.observation, "degree")
        degree, most = float(degrees[action]), max(float(degrees[fallback]), float(self._config.most_at_once))
        if not degree <= most:
            return self._veto(context, "burst-at-busy-tier", "degree", degree, most)
        limits = self._config
        for field, margin in (("waste", limits.waste_margin), ("waste_64", limits.waste_margin_64)):
            proposed, limit = self._waste(context, field, action), self._waste(context, field, fallback) + margin
            if not proposed <= limit:
                return self._veto(context, "tier-busy", field, proposed, limit)
        return self._accept

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Keep the gate's state; called at every decision, whoever rules."""
        self._closed = self._closed_at(context)

    def _waste(self, context: CheckContext, field: str, arm: int) -> float:
        if field == "waste":
            return float(self._layout.replica(context.observation, field)[arm])
        issued = float(self._layout.replica(context.observation, "issue_rate_64")[arm])
        covered = float(self._layout.replica(context.observation, "coverage_64")[arm])
        excess = issued - covered
        return 0.0 if excess < 0.0 else excess  # what is no number stays none

    def _veto(self, context: CheckContext, reason: str, field: str, proposed: float, limit: float) -> Verdict:
        utilisation, delay = self._signals(context)
        evidence = (("utilisation", utilisation), ("queueing_delay", delay), (field, proposed), ("limit", limit))
        return Verdict("veto", self.name, reason, evidence)

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
