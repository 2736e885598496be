"""Disagreement in an ensemble: where its members propose different things, the policy has not learned this."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage
from .rolling import Rolling


class DisagreementConfig(CheckModel):
    """Config of :class:`DisagreementCheck`.

    Attributes:
        window_decisions: Over how many of the latest proposals the share of dissenting votes is taken.
        share_limit: Mean share of members that may propose otherwise than the action.
        min_decisions: Fewest proposals on which it may object.
    """

    check: Literal["disagreement"] = "disagreement"
    window_decisions: int = Field(default=20, ge=1)
    share_limit: float = Field(default=0.4, ge=0, le=1)
    min_decisions: int = Field(default=5, ge=1)


class DisagreementCheck:
    """Vetoes while too many members of the ensemble have lately proposed otherwise than the action.

    After the policy signal of Online Safety Assurance (Rotman et al., HotNets'20). A proposal on which all agree passes
    whatever came before. A policy that gives no votes cannot be judged, and is not let through.

    Reason codes: ``ensemble-disagrees``, ``votes-missing``.
    """

    name = "disagreement"
    stage: Stage = "proposal"
    cost_us = 1.5
    fault = False

    def __init__(self, config: DisagreementConfig, layout: Layout) -> None:
        self._config = config
        self._accept = accepted_by(self.name)
        self._window = Rolling(config.window_decisions)
        self._spell_start = 0

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the votes of this proposal and of those before it in the present spell."""
        if context.spell_start != self._spell_start:
            self._spell_start = context.spell_start
            self._window = Rolling(self._config.window_decisions)
        votes = context.votes
        if votes is None or len(votes) == 0:
            return Verdict("veto", self.name, "votes-missing")
        dissent = float(np.count_nonzero(votes != context.action)) / len(votes)
        window = self._window
        window.push(dissent)
        share = window.total / window.count
        if dissent == 0.0 or window.count < self._config.min_decisions or share <= self._config.share_limit:
            return self._accept
        evidence = (("dissent", dissent), ("share", share), ("limit", self._config.share_limit))
        return Verdict("veto", self.name, "ensemble-disagrees", evidence)
