"""The breaker against a concurrent control: a shift that hurts the fallback as much is not blamed on the policy."""

from __future__ import annotations

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import Stage
from .control_blocks import BlockControl
from .control_breaker_config import ControlBreakerConfig
from .control_pairs import GhostControl, TwinControl


class ControlBreaker:
    """Trips where the policy does worse than a control that meets the same load.

    - ``blocks``: the share of violations in the policy's blocks of time against that in the blocks which the
      supervisor keeps for the fallback (``canary`` stage, or ``control_share`` in ``full``); an exact two-sample
      permutation test on block means, blocks as units since outcomes within one are correlated. Decisions of a spell
      that were the fallback's for other reasons are control too.
    - ``ghost``: growth of a count of the system against that of its ghost, block by block; an exact sign-flip test.
    - ``twin``: forecast cost of sampled executed proposals against that of the fallback's choice; the same test.

    A p-value at or below ``level`` trips. Windows start anew with each spell of the policy's rule. The tests are exact
    for exchangeable blocks; neighbouring blocks are not quite that, and there is a look a block, so the false alarms an
    hour are a measurement, not the level.

    Reason codes: ``worse-than-control-blocks``, ``worse-than-ghost``, ``worse-than-twin``.
    """

    name = "control-breaker"
    stage: Stage = "outcomes"
    cost_us = 2.0
    fault = False

    def __init__(self, config: ControlBreakerConfig, layout: Layout) -> None:
        self.needs_forecast = config.control == "twin"
        self._level = config.level
        self._accept = accepted_by(self.name)
        if config.control == "blocks":
            self._control: BlockControl | GhostControl | TwinControl = BlockControl(config)
            self._reason = "worse-than-control-blocks"
        elif config.control == "ghost":
            self._control = GhostControl(config, layout)
            self._reason = "worse-than-ghost"
        else:
            self._control = TwinControl(config)
            self._reason = "worse-than-twin"

    def judge(self, context: CheckContext) -> Verdict:
        """Look at what is new. To be called at every decision from number 0."""
        found = self._control.look(context)
        if found is None or found[0] > self._level:
            return self._accept
        return Verdict("trip", self.name, self._reason, found[1])

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Sample what is executed; called at every decision, whoever rules."""
        self._control.note_executed(context, action)
