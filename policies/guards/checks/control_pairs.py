"""Controls beside the system: its ghost, and the fallback's action in the twin. Both give paired differences."""

from __future__ import annotations

from collections import deque

from ....envs.common.layout import Layout
from ..context import CheckContext
from .control_blocks import Finding
from .control_breaker_config import ControlBreakerConfig
from .permutation import sign_flip_p


class _Pairs:
    """The latest relative excesses over the control."""

    def __init__(self, config: ControlBreakerConfig) -> None:
        self._margin = config.margin
        self._excess: deque[float] = deque(maxlen=config.window_blocks)

    def clear(self) -> None:
        self._excess.clear()

    def add(self, excess: float) -> None:
        self._excess.append(excess)

    def finding(self) -> Finding:
        p = sign_flip_p([excess - self._margin for excess in self._excess])
        mean = sum(self._excess) / len(self._excess)
        return p, (("p", p), ("excess_share", mean), ("pairs", float(len(self._excess))))


class GhostControl:
    """Counts of the system against those of its ghost, block by block; only blocks wholly within the present spell."""

    def __init__(self, config: ControlBreakerConfig, layout: Layout) -> None:
        self._fields = (config.system_field, config.control_field)
        self._block_s = config.block_s
        self._layout = layout
        self._pairs = _Pairs(config)
        self._spell_start = 0
        self._block: int | None = None
        self._whole = False
        self._start = (0.0, 0.0)
        for field in self._fields:
            layout.scalar(layout.low, field)  # an unknown field is the user's mistake now

    def look(self, context: CheckContext) -> Finding | None:
        """Read the counts; a finding where a block has ended."""
        if context.spell_start != self._spell_start:
            self._spell_start = context.spell_start
            self._pairs.clear()
            self._whole = False
        block = int(context.now_s // self._block_s)
        if block == self._block:
            return None
        system, control = (self._layout.scalar(context.observation, field) for field in self._fields)
        ended = self._whole and self._block is not None
        if ended:
            grown = control - self._start[1]
            self._pairs.add((system - self._start[0] - grown) / max(grown, 1.0))
        # A block that began in an earlier spell is not this spell's.
        self._block, self._start, self._whole = block, (system, control), context.decision >= self._spell_start
        return self._pairs.finding() if ended else None

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Nothing: what counts are the two counts."""


class TwinControl:
    """What executed proposals cost more than the fallback's choice, by sampled forecasts, cumulated."""

    def __init__(self, config: ControlBreakerConfig) -> None:
        self._config = config
        self._pairs = _Pairs(config)
        self._spell_start = 0
        self._differing = 0
        self._new = False

    def look(self, context: CheckContext) -> Finding | None:
        """A finding where an executed proposal was played since the last look."""
        if context.spell_start != self._spell_start:
            self._spell_start = context.spell_start
            self._pairs.clear()
            self._new = False
        if not self._new:
            return None
        self._new = False
        return self._pairs.finding()

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Play it beside the fallback's choice, if it is the policy's, differs, and is due."""
        if action == context.fallback_action or action != context.action or context.forecast is None:
            return
        due = self._differing % self._config.every == 0
        self._differing += 1
        if not due:
            return
        actions = (action, context.fallback_action)
        executed, fallback = context.forecast.costs(actions, self._config.horizon_s, self._config.futures)
        base = float(fallback.mean())
        self._pairs.add((float(executed.mean()) - base) / max(abs(base), 1e-9))
        self._new = True
