"""Small random caches and accesses, as the naive simulator and the one under test take them.

Times are small whole numbers, so that simultaneous events and ties are the rule, or multiples of 0.1, whose sums round.
Suggestions are arbitrary: they come from tables that stand in for what prefetchers would say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar
from unittest.mock import patch

import numpy as np
from naive_cache import Access, LinkSetup, Setup

from handrail.envs.prefetch import CacheConfig, MiddleConfig, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.prefetchers import PREFETCHER_TYPES
from handrail.envs.prefetch.prefetchers.base import Prefetcher
from handrail.envs.prefetch.prefetchers.tape import SuggestionTape
from handrail.traces import AccessTrace

Pick = Callable[[int, int], int]
"""A source of whole numbers between two bounds, both included."""

TABLES = ("next-line", "stride")
"""Prefetchers whose suggestions come from tables."""
TALKER = "markov"
"""A prefetcher that runs along and is told what happens."""


def seeded(seed: int) -> Pick:
    """Picks from a seed."""
    rng = np.random.default_rng(seed)
    return lambda low, high: int(rng.integers(low, high + 1))


def draw_link(pick: Pick, unit_s: float, disciplines: Sequence[str]) -> LinkSetup:
    """A link that is often busy."""
    return LinkSetup(
        latency_s=unit_s * (0, 1, 3, 7)[pick(0, 3)],
        service_s=unit_s * pick(0, 2),
        bandwidth=(1.0, 2.0, 1000.0)[pick(0, 2)] / unit_s,
        discipline=disciplines[pick(0, len(disciplines) - 1)],
        prefetch_queue=pick(1, 3),
    )


def draw_setup(pick: Pick, demand: str, *, middle: bool = False, talker: bool = False) -> Setup:
    """A cache of a few objects and the arms of a policy."""
    unit_s = (1.0, 0.1)[pick(0, 1)]
    by_bytes = pick(0, 2) == 0
    names = (*TABLES, TALKER) if talker else TABLES
    every_s = None if demand == "timeless" or pick(0, 2) else unit_s * pick(1, 6)
    return Setup(
        capacity=pick(1, 8) if by_bytes else pick(1, 5),
        tier=draw_link(pick, unit_s, ("fifo", "demand-first", "bounded")),
        by_bytes=by_bytes,
        lru=pick(0, 2) > 0,
        hit_s=unit_s * (0.0, 0.25, 1.0)[pick(0, 2)],
        demand=demand,
        window=pick(1, 3),
        think_s=unit_s * (0, 0, 1, 4)[pick(0, 3)] if demand == "closed" else 0.0,
        seen_only=pick(0, 2) == 0,
        touches=pick(0, 2) == 0,
        middle=draw_link(pick, unit_s, ("fifo", "demand-first")) if middle else None,
        middle_capacity=pick(1, 8),
        middle_by_bytes=bool(pick(0, 1)),
        arms=(("none", 0), *((name, degree) for name in names for degree in (1, 3))),
        per_tenant=bool(pick(0, 1)),
        every_accesses=pick(1, 5) if every_s is None else None,
        every_s=every_s,
    )


def draw_accesses(pick: Pick, most: int, *, talker: bool = False, keys: int = 9) -> list[Access]:
    """Up to ``most`` accesses with what is suggested at each."""
    unit_s = (1.0, 0.1)[pick(0, 1)]
    at_s, found = unit_s * pick(0, 2), []
    writes, tenants, largest = pick(0, 2), pick(1, 3), pick(1, 3)
    names = (*TABLES, TALKER) if talker else TABLES
    for _ in range(pick(1, most)):
        key = pick(0, keys)
        suggests = {}
        for name in names:
            drawn = [pick(0, keys) for _ in range(pick(0, 4))]
            suggests[name] = tuple(dict.fromkeys(other for other in drawn if other != key))[:3]
        found.append(
            Access(at_s, key, pick(1, largest), bool(writes and pick(0, 2) == 0), pick(0, tenants - 1), suggests)
        )
        at_s += unit_s * pick(1, 9) if pick(0, 2) else 0.0
    return found


def draw_answers(pick: Pick, setup: Setup, n: int = 12) -> list[tuple[int, float]]:
    """Arms, and how long each takes until it is in force; most prefetch, and most at once."""
    unit_s = setup.every_s or 1.0
    arms = len(setup.arms)
    return [
        (pick(1, arms - 1) if pick(0, 3) else pick(0, arms - 1), unit_s * (0, 0, 0, 1, 2.5)[pick(0, 4)])
        for _ in range(n)
    ]


def fresh(accesses: Sequence[Access]) -> list[Access]:
    """Accesses to which nothing has happened yet."""
    return [replace(access) for access in accesses]


def tier_of(link: LinkSetup) -> TierConfig:
    return TierConfig(
        latency_s=link.latency_s,
        service_s=link.service_s,
        bandwidth_bytes_per_s=link.bandwidth,
        discipline=link.discipline,
        prefetch_queue=link.prefetch_queue,
    )


def config_of(setup: Setup) -> CacheConfig:
    """The same cache for the simulator under test."""
    middle = None
    if setup.middle is not None:
        unit = "size_bytes" if setup.middle_by_bytes else "objects"
        middle = MiddleConfig.model_validate({unit: setup.middle_capacity, "tier": tier_of(setup.middle)})
    return CacheConfig.parse(
        **{"size_bytes" if setup.by_bytes else "objects": setup.capacity},
        eviction="lru" if setup.lru else "fifo",
        hit_s=setup.hit_s,
        tier=tier_of(setup.tier),
        middle=middle,
        demand=setup.demand,
        window=setup.window,
        think_s=setup.think_s,
        backing="seen" if setup.seen_only else "all",
        prefetch_touches=setup.touches,
        prefetcher="none",
        controller="fixed",
        menu=tuple("none" if name == "none" else f"{name}:{degree}" for name, degree in setup.arms),
        per_tenant=setup.per_tenant,
        every_accesses=setup.every_accesses,
        every_s=setup.every_s,
    )


def trace_of(accesses: Sequence[Access]) -> AccessTrace:
    """The same accesses for the simulator under test."""
    tenants = max(access.tenant for access in accesses) + 1
    return AccessTrace(
        arrival_s=np.array([access.arrival_s for access in accesses]),
        key=np.array([access.key for access in accesses]),
        size_bytes=np.array([access.size for access in accesses]),
        is_write=np.array([access.write for access in accesses]) if any(a.write for a in accesses) else None,
        tenant=np.array([access.tenant for access in accesses]),
        tenant_names=tuple(f"tenant{code}" for code in range(tenants)),
    )


class Talker(Prefetcher):
    """Suggests what a table says, and keeps what it is told. Instances are made in the order of the tenants."""

    name = TALKER
    demand_driven = False
    told: ClassVar[list[tuple[object, ...]]] = []
    tables: ClassVar[list[list[tuple[int, ...]]]] = []
    made: ClassVar[int] = 0

    def __init__(self, degree: int) -> None:
        super().__init__(degree)
        self.tenant = Talker.made
        self.at = 0
        Talker.made += 1

    def access(self, key: int, hit: bool) -> Sequence[int]:
        self.told.append((self.tenant, self.name, "access", key, hit))
        self.at += 1
        return self.tables[self.tenant][self.at - 1]

    def note_filled(self, key: int, prefetched: bool) -> None:
        self.told.append((self.tenant, self.name, "filled", key, prefetched))

    def note_used(self, key: int, late: bool) -> None:
        self.told.append((self.tenant, self.name, "used", key, late))

    def note_evicted(self, key: int) -> None:
        self.told.append((self.tenant, self.name, "evicted", key))


@contextmanager
def suggestions(tables: Mapping[str, list[tuple[int, ...]]]) -> Iterator[None]:
    """Within it, simulators take the suggestions of these prefetchers from tables, one entry a row of the trace."""

    def build(trace: AccessTrace, name: str, degree: int) -> SuggestionTape:
        return SuggestionTape(tables[name])

    with patch.object(SuggestionTape, "build", build):
        yield


@contextmanager
def scripted(accesses: Sequence[Access], *, talker: bool = False) -> Iterator[None]:
    """Within it, simulators suggest what the accesses say."""
    tables = {name: [access.suggests.get(name, ()) for access in accesses] for name in TABLES}
    if not talker:
        with suggestions(tables):
            yield
        return
    tenants = max(access.tenant for access in accesses) + 1
    Talker.told, Talker.made = [], 0
    Talker.tables = [[a.suggests.get(TALKER, ()) for a in accesses if a.tenant == code] for code in range(tenants)]
    with suggestions(tables), patch.dict(PREFETCHER_TYPES, {TALKER: Talker}):
        yield


def drive(simulator: PrefetchSimulator, answers: Sequence[tuple[int, float]], check: Callable[[], None] | None = None):
    """Run a simulator to its end with these answers, the last one repeated; return its decision points."""
    points = []
    while (point := simulator.advance()) is not None:
        points.append(point)
        simulator.apply(*answers[min(point.decision, len(answers) - 1)])
        if check is not None:
            check()
    return points
