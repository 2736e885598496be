"""The outcome breaker: the share of violations under the policy's rule against the fallback's own at that load."""

from __future__ import annotations

import math
from array import array

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import Stage
from .breaker_config import BreakerConfig


class OutcomeBreaker:
    """Trips when violations are more than the fallback's own share at that load can explain.

    Of the last ``window_outcomes`` outcomes of the present spell (n of them, k violated) it trips when
    ``k > n * p + z * sqrt(design_effect * n * p * (1 - p))`` with p the mean reference share plus the margin. Each
    outcome is charged at the higher of the load at its decision and the load when it ended, so that a crowd which came
    in between is not blamed on the policy. Reason code: ``violations-over-reference``.
    """

    name = "breaker"
    stage: Stage = "outcomes"
    cost_us = 1.0
    fault = False

    def __init__(self, config: BreakerConfig, layout: Layout) -> None:
        layout.scalar(layout.low, config.load_field)  # an unknown field is the user's mistake now
        self._config = config
        self._layout = layout
        self._accept = accepted_by(self.name)
        self._loads = array("d")
        self._forget(0)

    def judge(self, context: CheckContext) -> Verdict:
        """Take in the new outcomes and judge the window. To be called at every decision from number 0."""
        load = self._layout.scalar(context.observation, self._config.load_field) / self._config.capacity_per_s
        if not math.isfinite(load):
            load = 0.0  # a broken rate must not excuse violations: judge at the lowest load
        self._loads.append(load)
        if context.spell_start != self._spell_start:
            self._forget(context.spell_start)
        counted = False
        for outcome in context.outcomes:
            if outcome.ruled and outcome.decision >= self._spell_start:
                self._count(outcome.violated, max(self._loads[outcome.decision], load))
                counted = True
        return self._judge_window() if counted else self._accept

    def _forget(self, spell_start: int) -> None:
        self._spell_start = spell_start
        self._window: list[tuple[bool, float]] = []
        self._next = 0
        self._violations = 0
        self._reference_sum = 0.0

    def _count(self, violated: bool, load: float) -> None:
        new = (violated, self._config.reference_share(load))
        self._violations += violated
        self._reference_sum += new[1]
        if len(self._window) < self._config.window_outcomes:
            self._window.append(new)
            return
        old_violated, old_reference = self._window[self._next]
        self._window[self._next] = new
        self._violations -= old_violated
        self._reference_sum -= old_reference
        self._next = (self._next + 1) % self._config.window_outcomes
        if self._next == 0:  # once a round, so that rounding does not build up
            self._reference_sum = math.fsum(reference for _, reference in self._window)

    def _judge_window(self) -> Verdict:
        n = len(self._window)
        if n < self._config.min_outcomes:
            return self._accept
        share = min(self._reference_sum / n + self._config.margin_share, 1.0)
        limit = n * share + self._config.z * math.sqrt(self._config.design_effect * n * max(share * (1 - share), 0.0))
        if self._violations <= limit:
            return self._accept
        evidence = (("violations", float(self._violations)), ("outcomes", float(n)), ("limit", limit))
        return Verdict("trip", self.name, "violations-over-reference", evidence)
