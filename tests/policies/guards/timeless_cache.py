"""A cache without time beside its ghost, behind a guarded policy; a referee holds the counts against the bound."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from handrail.envs.common import Layout
from handrail.envs.prefetch.eviction import make_eviction
from handrail.envs.prefetch.eviction.base import EvictionCache
from handrail.envs.prefetch.layout import layout_for
from handrail.policies import make_heuristic
from handrail.policies.guards import BudgetConfig, GuardConfig, GuardedPolicy, SupervisorConfig, build_guard
from handrail.policies.interface import Feedback

PATIENT = SupervisorConfig(faults_in_a_row=10**6, veto_window_decisions=10**6, veto_share_limit=1.0, probe_outcomes=0)

Table = Sequence[Sequence[Sequence[int]]]
"""For each access what each arm suggests: any function of the accesses is such a table."""


@dataclass(frozen=True)
class World:
    """Demand, what each arm suggests at each access, and what the standing scheme does at each decision.

    ``touches``: a suggestion that is there counts as a reference. ``restores``: when the standing arms come into force
    the ghost's contents are put into the real cache, and what was lacking is charged.
    """

    keys: Sequence[int]
    tenants: Sequence[int]
    table: Table
    standing: Sequence[Sequence[int]]
    capacity: int
    every: int
    eviction: str = "lru"
    touches: bool = True
    restores: bool = False

    @property
    def n_tenants(self) -> int:
        return len(self.standing[0])

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset(self.keys).union(*(arm for row in self.table for arm in row))

    @property
    def n_arms(self) -> int:
        return len(self.table[0])


@dataclass
class Caches:
    """The two caches and their counts."""

    real: EvictionCache
    ghost: EvictionCache
    misses: int = 0
    ghost_misses: int = 0
    row: int = 0

    def run(self, world: World, arms: Sequence[int], standing: Sequence[int]) -> list[tuple[int, int]]:
        """All accesses until the next decision; the counts after each."""
        if world.restores and list(arms) == list(standing):
            self.misses += sum(key in self.ghost and key not in self.real for key in world.ids)
            self.real = copy.deepcopy(self.ghost)
        counts = []
        for row in range(self.row, min(self.row + world.every, len(world.keys))):
            tenant = world.tenants[row]
            self.misses += access(self.real, world.keys[row], world.table[row][arms[tenant]], world.touches)
            self.ghost_misses += access(self.ghost, world.keys[row], world.table[row][standing[tenant]], world.touches)
            counts.append((self.misses, self.ghost_misses))
        self.row += len(counts)
        return counts


def access(cache: EvictionCache, key: int, suggestions: Sequence[int], touches: bool) -> bool:
    """One access and the prefetches after it; whether it missed."""
    missed = not cache.touch(key)
    if missed:
        cache.insert(key)
    for other in suggestions:
        if other not in cache:
            cache.insert(other)
        elif touches:
            cache.touch(other)
    return missed


@dataclass
class Referee:
    """Its own account of the discounted counts, as the bound's words have it."""

    config: BudgetConfig
    capacity: int
    real: float = 0.0
    ghost: float = 0.0
    least_slack: float = float("inf")
    slacks: list[float] = field(default_factory=list)

    def moment(self) -> None:
        self.real *= self.config.discount
        self.ghost *= self.config.discount

    def saw(self, missed: int, ghost_missed: int) -> None:
        self.real += missed
        self.ghost += ghost_missed
        budget = self.config.budget_caches * self.capacity
        slack = (1.0 + self.config.excess_share) * self.ghost + budget - self.real
        self.slacks.append(slack)
        self.least_slack = min(self.least_slack, slack)


Chooser = Callable[[World, Caches, int], int]
"""An adversary: it sees the world, future and all, both caches, and the tenant that is asked for."""


class Adversary:
    """A policy around a chooser; the loop tells it where it stands."""

    latency_s = 0.0

    def __init__(self, world: World, choose: Chooser) -> None:
        self.world, self.choose = world, choose
        self.caches: Caches | None = None
        self.tenant = 0

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        assert self.caches is not None
        return self.choose(self.world, self.caches, self.tenant), state


def lots(seed: int) -> Chooser:
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return lambda world, caches, tenant: int(rng.integers(world.n_arms))


def spite(world: World, caches: Caches, tenant: int) -> int:
    """The arm that puts the real cache furthest behind the ghost by the end of the next two intervals."""
    standing = standing_at(world, caches.row)
    worst, chosen = -np.inf, 0
    for arm in range(world.n_arms):
        copied = copy.deepcopy(caches)
        copied.run(world, [arm] * world.n_tenants, standing)
        copied.run(world, standing_at(world, copied.row), standing_at(world, copied.row))
        behind = copied.misses - copied.ghost_misses
        if behind > worst:
            worst, chosen = behind, arm
    return chosen


def standing_at(world: World, row: int) -> Sequence[int]:
    return world.standing[min(row // world.every, len(world.standing) - 1)]


def budget_only(config: BudgetConfig) -> GuardConfig:
    """The budget alone, and a supervisor that never takes the rule away."""
    return GuardConfig(checks=(config,), supervisor=PATIENT)


def observe(layout: Layout, world: World, caches: Caches, standing: int) -> np.ndarray:
    observation = np.zeros(layout.size, dtype=np.float32)
    layout.replica(observation, "up")[:] = 1.0
    layout.replica(observation, "standing")[standing] = 1.0
    names = [f.name for f in layout.global_fields]
    told = {
        "cache_objects": world.capacity,
        "decision_accesses": world.every,
        "misses": caches.misses,
        "ghost_misses": caches.ghost_misses,
    }
    for name, value in told.items():
        layout.globals(observation)[names.index(name)] = value
    return observation


def replay(
    world: World,
    choose: Chooser,
    config: BudgetConfig,
    build: Callable[[GuardConfig, Layout], Any] = build_guard,
) -> tuple[Referee, GuardedPolicy]:
    """The loop, with one decision a tenant at each moment."""
    layout = layout_for(world.n_arms)
    policy = Adversary(world, choose)
    fallback = make_heuristic("standing", layout, domain="prefetch")
    guarded = GuardedPolicy(policy, fallback, build(budget_only(config), layout), layout)
    caches = Caches(make_eviction(world.eviction, world.capacity), make_eviction(world.eviction, world.capacity))
    policy.caches = caches
    referee = Referee(config, world.capacity)
    decision = 0
    state = None
    while caches.row < len(world.keys):
        standing = standing_at(world, caches.row)
        arms = []
        for tenant in range(world.n_tenants):
            policy.tenant = tenant
            guarded.notify(Feedback(float(caches.row), decision))
            arm, state = guarded.predict(observe(layout, world, caches, standing[tenant]), state)
            arms.append(arm)
            decision += 1
        referee.moment()
        before = caches.misses, caches.ghost_misses
        for counts in caches.run(world, arms, standing):
            referee.saw(counts[0] - before[0], counts[1] - before[1])
            before = counts
    return referee, guarded
