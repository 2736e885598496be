"""The control in time: blocks in which the fallback rules beside those in which the policy does."""

from __future__ import annotations

from array import array
from collections import deque

from ..context import CheckContext
from .control_breaker_config import ControlBreakerConfig
from .permutation import two_sample_p

Finding = tuple[float, tuple[tuple[str, float], ...]]
"""p-value and evidence."""


class BlockControl:
    """Share of violations in blocks of time, by who ruled in them; the blocks are the units, not the outcomes.

    A block is judged ``settle_s`` after its end by the outcomes known then; what comes later is left out, for either
    kind alike. What one block leaves behind is charged to the next, which makes the two kinds alike: a real harm looks
    smaller than it is.
    """

    def __init__(self, config: ControlBreakerConfig) -> None:
        self._config = config
        self._decided_s = array("d")
        self._spell_start = 0
        self._forget()

    def look(self, context: CheckContext) -> Finding | None:
        """Take in the new outcomes; a finding where a block has settled."""
        config = self._config
        self._decided_s.append(context.now_s)
        if context.spell_start != self._spell_start:
            self._spell_start = context.spell_start
            self._forget()
        for outcome in context.outcomes:
            if outcome.decision < self._spell_start:
                continue
            block = int(self._decided_s[outcome.decision] // config.block_s)
            if block > self._settled:
                counts = self._counts.setdefault(block, [0, 0, 0, 0])
                counts[2 * outcome.ruled] += 1
                counts[2 * outcome.ruled + 1] += outcome.violated
        last = int((context.now_s - config.settle_s) // config.block_s) - 1
        if last <= self._settled:
            return None
        self._settled = last
        new = False
        for block in sorted(block for block in self._counts if block <= last):
            control_n, control_bad, ruled_n, ruled_bad = self._counts.pop(block)
            if max(ruled_n, control_n) < config.min_outcomes:
                continue
            new = True
            if ruled_n >= control_n:
                self._ruled.append(ruled_bad / ruled_n)
            else:
                self._control.append(control_bad / control_n)
        return self._judge() if new else None

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Nothing: what counts are outcomes."""

    def _judge(self) -> Finding | None:
        ruled, control = self._ruled, self._control
        if not (ruled and control):
            return None
        p = two_sample_p([share - self._config.margin for share in ruled], list(control))
        evidence = (
            ("p", p),
            ("violations_share", sum(ruled) / len(ruled)),
            ("control_share", sum(control) / len(control)),
            ("blocks", float(len(ruled))),
            ("control_blocks", float(len(control))),
        )
        return p, evidence

    def _forget(self) -> None:
        self._settled = -1
        self._counts: dict[int, list[int]] = {}
        self._ruled: deque[float] = deque(maxlen=self._config.window_blocks)
        self._control: deque[float] = deque(maxlen=self._config.window_blocks)
