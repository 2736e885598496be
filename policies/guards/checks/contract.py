"""The contract: a proposal is one legal action, returned in time and without an exception."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class ContractConfig(CheckModel):
    """Config of :class:`ContractCheck`.

    Attributes:
        latency_budget_s: Longest declared decision latency that is waited for, in simulated seconds.
    """

    check: Literal["contract"] = "contract"
    latency_budget_s: float = Field(default=1e-3, ge=0)


class ContractCheck:
    """Vetoes whatever is no legal action in time.

    Reason codes: ``policy-raised``, ``latency-invalid`` (NaN, infinite or negative), ``latency-over-budget``,
    ``wrong-shape``, ``wrong-type``, ``not-finite``, ``not-an-integer``, ``out-of-range``, ``masked-action``.
    """

    name = "contract"
    stage: Stage = "proposal"
    cost_us = 0.5
    fault = True

    def __init__(self, config: ContractConfig, layout: Layout) -> None:
        self._budget_s = config.latency_budget_s
        self._n_actions = layout.n_replicas
        self._accept = accepted_by(self.name)

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the form of the proposal alone, never its merit."""
        if context.error:
            return Verdict("veto", self.name, "policy-raised")
        # The negated comparison is false for NaN too.
        if not 0.0 <= context.latency_s <= self._budget_s:
            return self._late(context.latency_s)
        if context.malformed:
            return Verdict("veto", self.name, context.malformed)
        action = context.action
        if not 0 <= action < self._n_actions:
            # An integer beyond the float range must not turn the judge into the one that raises.
            shown = float(max(min(action, 2**62), -(2**62)))
            return Verdict("veto", self.name, "out-of-range", (("action", shown), ("n_actions", self._n_actions)))
        if context.mask is not None and not context.mask[action]:
            return Verdict("veto", self.name, "masked-action", (("action", float(action)),))
        return self._accept

    def _late(self, latency_s: float) -> Verdict:
        reason = "latency-over-budget" if self._budget_s < latency_s < float("inf") else "latency-invalid"
        return Verdict("veto", self.name, reason, (("latency_s", latency_s), ("budget_s", self._budget_s)))
