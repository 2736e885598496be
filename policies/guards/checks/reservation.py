"""The reservation check: backfilling may not push back the job that stands first."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class ReservationConfig(CheckModel):
    """Config of :class:`ReservationCheck`.

    Attributes:
        margin_s: How much later than first promised the head's reservation may come to lie through a start that
            delays it, in simulated seconds.
    """

    check: Literal["reservation"] = "reservation"
    margin_s: float = Field(default=120.0, ge=0)


class ReservationCheck:
    """Vetoes a start that delays the head's reservation to more than ``margin_s`` after what it was first promised.

    A start that delays it not at all passes, however late the reservation already is: that is EASY backfilling. What
    already slipped (``head_slip_s``, whoever is to blame: wrong estimates and failures among it) is charged to the
    margin, so that small delays do not add up. Waiting is the idling check's subject.

    As estimated, then: an accepted start leaves the head's reservation where it is, or at most ``margin_s`` after its
    first promise. The head changes with the standing order (a shorter job that arrives takes its place under SJF), and
    a job that lost the place is protected by its slowdown and its turn as overdue alone.

    Reason codes: ``reservation-over-margin``, ``cost-not-finite``, ``out-of-range``. The fallback's own choice passes.
    """

    name = "reservation"
    stage: Stage = "proposal"
    cost_us = 1.2
    fault = False

    def __init__(self, config: ReservationConfig, layout: Layout) -> None:
        layout.replica(layout.low, "head_delay_s")  # a layout without these is the user's mistake now
        layout.scalar(layout.low, "head_slip_s")
        self._margin_s = config.margin_s
        self._layout = layout
        self._wait = layout.n_replicas - 1
        self._accept = accepted_by(self.name)

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal by the delays that the observation reports."""
        action, observation = context.action, context.observation
        if action == context.fallback_action:
            return self._accept
        if not 0 <= action <= self._wait:
            return Verdict("veto", self.name, "out-of-range")
        if action == self._wait:
            return self._accept
        delay_s = float(self._layout.replica(observation, "head_delay_s")[action])
        if delay_s == 0.0:
            return self._accept
        slip_s = self._layout.scalar(observation, "head_slip_s")
        if delay_s + slip_s <= self._margin_s:
            return self._accept
        reason = "reservation-over-margin" if math.isfinite(delay_s + slip_s) else "cost-not-finite"
        evidence = (("head_delay_s", delay_s), ("head_slip_s", slip_s), ("margin_s", self._margin_s))
        return Verdict("veto", self.name, reason, evidence)
