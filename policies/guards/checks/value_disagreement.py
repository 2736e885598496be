"""Disagreement of value heads: where their estimates spread, the state is unlike those they were fitted on."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage
from .rolling import Rolling


class ValueDisagreementConfig(CheckModel):
    """Config of :class:`ValueDisagreementCheck`.

    Attributes:
        variance_limit: Variance of the heads' estimates that is ordinary: a conformal quantile of it on calibration
            data (see ``conformal_quantile``), in the values' unit squared.
        window_decisions: Over how many of the latest proposals the rule looks.
        limit_decisions: So many of them above the limit are one too many.
    """

    check: Literal["value-disagreement"] = "value-disagreement"
    variance_limit: float = Field(ge=0)
    window_decisions: int = Field(default=10, ge=1)
    limit_decisions: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _the_limit_can_be_reached(self) -> Self:
        if self.limit_decisions > self.window_decisions:
            raise ValueError("limit_decisions must not exceed window_decisions")
        return self


class ValueDisagreementCheck:
    """Vetoes while the value heads have lately disagreed in too many states.

    After the value signal of Online Safety Assurance (Rotman et al., HotNets'20): a state in which the variance is
    above the limit is uncertain; ``limit_decisions`` uncertain ones of the last ``window_decisions`` are too many. A
    policy that gives no values cannot be judged, and is not let through; a variance that is no number is uncertain.

    Reason codes: ``value-heads-disagree``, ``values-missing``.
    """

    name = "value-disagreement"
    stage: Stage = "proposal"
    cost_us = 6.5
    fault = False

    def __init__(self, config: ValueDisagreementConfig, layout: Layout) -> None:
        self._config = config
        self._accept = accepted_by(self.name)
        self._window = Rolling(config.window_decisions)
        self._spell_start = 0

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the estimates of this state and of those before it in the present spell."""
        if context.spell_start != self._spell_start:
            self._spell_start = context.spell_start
            self._window = Rolling(self._config.window_decisions)
        values = context.values
        if values is None or len(values) == 0:
            return Verdict("veto", self.name, "values-missing")
        variance = float(values.var())
        self._window.push(float(not variance <= self._config.variance_limit))
        if self._window.total < self._config.limit_decisions:
            return self._accept
        evidence = (
            ("variance", variance),
            ("limit", self._config.variance_limit),
            ("uncertain_decisions", self._window.total),
        )
        return Verdict("veto", self.name, "value-heads-disagree", evidence)
