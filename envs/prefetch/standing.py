"""The standing scheme: one controller a tenant (or one for all), asked at every decision."""

from __future__ import annotations

from collections.abc import Sequence

from ...traces.errors import HandrailError
from .arms import Arm
from .config import CacheConfig
from .controllers import make_controller
from .controllers.base import IntervalStats
from .layers import fork_containers
from .ledger import TenantTotals
from .tier import Link

ALL = -1
"""Stands for all tenants where one arm serves them."""


class StandingScheme:
    """Asks the controllers, and translates what they choose into arms of the menu.

    Args:
        config: Names the scheme.
        askers: Tenants that have an arm of their own; (`ALL`,) where one serves all.
        counters: Running totals by tenant.
        tier: The backing tier.
        menu: Arms that there are; None for the scheme's own ladder.

    Attributes:
        arms: The menu, or the ladder.
        choices: What each asker's controller chose last, as a place in ``arms``.

    Raises:
        HandrailError: The menu lacks an arm of the ladder.
    """

    def __init__(
        self,
        config: CacheConfig,
        askers: Sequence[int],
        counters: Sequence[TenantTotals],
        tier: Link,
        menu: tuple[Arm, ...] | None,
    ) -> None:
        self._config = config
        self._askers = tuple(askers)
        self._counters = counters
        self._tier = tier
        self._controllers = [make_controller(config) for _ in self._askers]
        ladder = self._controllers[0].ladder
        self.arms = ladder if menu is None else menu
        missing = [arm.label for arm in ladder if arm not in self.arms]
        if missing:
            raise HandrailError(
                f"the menu lacks {', '.join(missing)}, which {config.controller} over {config.prefetcher} uses; add "
                f"{'them' if len(missing) > 1 else 'it'} to the menu"
            )
        self._places = [self.arms.index(arm) for arm in ladder]
        self.choices = [0] * len(self._askers)
        self._totals_then = [self._totals(asker, 0.0) for asker in self._askers]
        self._then_s = 0.0
        self._work_then_s = 0.0
        self._is_first = True

    def fork(self, counters: Sequence[TenantTotals], tier: Link) -> StandingScheme:
        """A scheme that goes on alike and apart, beside these totals and this tier."""
        fork = fork_containers(self)
        fork._counters, fork._tier = counters, tier
        fork._controllers = [controller.fork() for controller in self._controllers]
        return fork

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self._places) == 1

    def consult(self, now_s: float) -> None:
        """Let every controller choose by what happened since the last call."""
        config, tier = self._config, self._tier
        work_s = tier.work_s(now_s)
        span_s = now_s - self._then_s
        utilisation = min((work_s - self._work_then_s) / span_s, 1.0) if span_s > 0.0 else 0.0
        self._then_s, self._work_then_s = now_s, work_s
        miss_s = config.unloaded_miss_s
        delay = tier.backlog_s(now_s) / miss_s
        for place, asker in enumerate(self._askers):
            totals = self._totals(asker, now_s)
            change = [now - then for now, then in zip(totals, self._totals_then[place], strict=True)]
            self._totals_then[place] = totals
            seen = None if self._is_first else IntervalStats(*change, utilisation, delay, miss_s)  # type: ignore[arg-type]
            self.choices[place] = self._places[self._controllers[place].choose(seen)]
        self._is_first = False

    def _totals(self, asker: int, now_s: float) -> tuple[float, ...]:
        """Running totals of an asker in the order of `IntervalStats`."""
        hit_s = self._config.hit_s
        rows = [
            (
                t.accesses,
                t.misses + t.delayed,
                t.latency_s(now_s, hit_s),
                t.issued,
                t.useful,
                t.late,
                t.useless,
                t.polluted,
            )
            for t in (self._counters if asker == ALL else [self._counters[asker]])
        ]
        return tuple(sum(column) for column in zip(*rows, strict=True))
