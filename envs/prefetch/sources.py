"""Where suggestions come from: tapes that were worked out beforehand, and prefetchers that must run along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy

from ...traces import AccessTrace
from .arms import OFF, Arm
from .prefetchers import PREFETCHER_TYPES, make_prefetcher
from .prefetchers.base import Prefetcher
from .prefetchers.tape import SuggestionTape

Rows = Sequence[tuple[int, ...]] | Mapping[int, tuple[int, ...]]


class Sources:
    """The suggestions of all prefetchers that some arms name, at the largest degree that any of them has.

    Args:
        trace: The whole trace.
        start, stop: The rows that are replayed.
        arms: The arms.
        n_tenants: Tenants; each has prefetchers of its own.

    Attributes:
        tapes: By name of the prefetcher: suggestions a replayed row, of those that look at accesses alone.
        live: One dictionary a tenant: the other prefetchers, by name.
    """

    def __init__(self, trace: AccessTrace, start: int, stop: int, arms: Iterable[Arm], n_tenants: int) -> None:
        degrees: dict[str, int] = {}
        for arm in arms:
            if arm.prefetcher != OFF:
                degrees[arm.prefetcher] = max(degrees.get(arm.prefetcher, 0), arm.degree)
        self.tapes: dict[str, Rows] = {}
        self.live: list[dict[str, Prefetcher]] = [{} for _ in range(n_tenants)]
        whole = start == 0 and stop == len(trace)
        for name, degree in degrees.items():
            if PREFETCHER_TYPES[name].demand_driven:
                rows = SuggestionTape.build(trace, name, degree).rows
                self.tapes[name] = rows if whole else rows[start:stop]
            else:
                for live in self.live:
                    live[name] = make_prefetcher(name, degree)

    def fork(self) -> Sources:
        """The same tapes, and prefetchers that go on alike and apart."""
        fork = copy(self)
        fork.live = [{name: prefetcher.fork() for name, prefetcher in live.items()} for live in self.live]
        return fork

    @property
    def any_live(self) -> bool:
        """Whether a prefetcher must run along."""
        return any(self.live)
