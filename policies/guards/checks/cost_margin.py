"""The action check: the expected cost of the chosen replica against that of the fallback's choice."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class CostMarginConfig(CheckModel):
    """Config of :class:`CostMarginCheck`.

    Attributes:
        field: Per-replica observation field that is the expected cost of choosing that replica (its name has its
            unit).
        absolute_margin: Allowed excess over the fallback's choice, in the field's unit.
        relative_margin: Allowed excess as a share of the value of the fallback's choice.
    """

    check: Literal["cost-margin"] = "cost-margin"
    field: str
    absolute_margin: float = Field(ge=0)
    relative_margin: float = Field(default=0.0, ge=0)


class CostMarginCheck:
    """Vetoes an action whose expected cost is above ``fallback * (1 + relative) + absolute``.

    The absolute part lets a policy choose freely where every choice is cheap; the relative part keeps the allowance in
    proportion where all are dear. The fallback's own choice always passes. A cost that is not a number never does.

    Reason codes: ``<field>-over-margin`` (the field's name in kebab case), ``cost-not-finite``, ``out-of-range``.
    """

    stage: Stage = "proposal"
    cost_us = 1.5
    fault = False

    def __init__(self, config: CostMarginConfig, layout: Layout) -> None:
        layout.replica(
            layout.low, config.field
        )  # an unknown field is the user's mistake now, not at the first decision
        self.name = f"cost-margin:{config.field}"
        self._field = config.field
        self._layout = layout
        self._absolute = config.absolute_margin
        self._factor = 1.0 + config.relative_margin
        self._reason = f"{config.field.replace('_', '-')}-over-margin"
        self._accept = accepted_by(self.name)

    def judge(self, context: CheckContext) -> Verdict:
        """Compare the expected cost of the two choices, both read from this decision's observation."""
        action, fallback = context.action, context.fallback_action
        if action == fallback:
            return self._accept
        if not 0 <= action < self._layout.n_replicas:
            return Verdict("veto", self.name, "out-of-range")
        costs = self._layout.replica(context.observation, self._field)
        proposed = float(costs[action])
        limit = float(costs[fallback]) * self._factor + self._absolute
        if proposed <= limit:
            return self._accept
        reason = self._reason if math.isfinite(proposed) and math.isfinite(limit) else "cost-not-finite"
        return Verdict("veto", self.name, reason, (("proposed", proposed), ("limit", limit)))
