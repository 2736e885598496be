"""The ghost-cache budget's bound, searched for violations in caches without time by a referee of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from timeless_cache import Caches, Chooser, World, access, lots, replay, spite

from handrail.envs.common import Layout
from handrail.envs.prefetch.eviction import make_eviction
from handrail.policies.guards import BudgetConfig, Guard, GuardConfig, Verdict
from handrail.policies.guards.checks import BudgetCheck

ROUNDING = 1e-6
"""The account is in double precision; the counts are whole numbers."""


@st.composite
def worlds(draw: st.DrawFn, **fixed: object) -> World:
    """Few ids, a small cache, arms that suggest anything at all: everything is reused, and every prefetch pushes."""
    capacity = draw(st.integers(1, 6), label="capacity")
    n_ids = draw(st.integers(2, capacity + 4), label="ids")
    n_arms = draw(st.integers(2, 3), label="arms")
    n_tenants = draw(st.integers(1, 2), label="tenants")
    every = draw(st.integers(1, 6), label="every")
    n = draw(st.integers(20, 240), label="accesses")
    rng = np.random.default_rng(np.random.SeedSequence(draw(st.integers(0, 2**32 - 1), label="seed")))
    kind = draw(st.sampled_from(["lots", "loop", "phases"]), label="demand")
    if kind == "lots":
        keys = rng.integers(0, n_ids, n)
    elif kind == "loop":
        keys = np.arange(n) % n_ids
    else:
        keys = (np.arange(n) * rng.choice([1, -1, 2]) + np.repeat(rng.integers(0, n_ids, n // 20 + 1), 20)[:n]) % n_ids
    # Arms: by lots, at fixed distances of the accessed id, or nothing.
    table = []
    styles = [draw(st.sampled_from(["lots", "distance", "nothing"]), label="arm") for _ in range(n_arms)]
    distances = [rng.integers(1, n_ids, draw(st.integers(1, 3), label="degree")) for _ in range(n_arms)]
    for key in keys:
        row = []
        for style, distance in zip(styles, distances, strict=True):
            if style == "nothing":
                row.append(())
                continue
            raw = (key + distance) % n_ids if style == "distance" else rng.integers(0, n_ids + 3, len(distance))
            row.append(tuple(dict.fromkeys(int(other) for other in raw if other != key)))
        table.append(row)
    moments = -(-n // every)
    return World(
        keys=[int(key) for key in keys],
        tenants=[int(t) for t in rng.integers(0, n_tenants, n)],
        table=table,
        standing=[[int(a) for a in rng.integers(0, n_arms, n_tenants)] for _ in range(moments)]
        if draw(st.booleans(), label="standing scheme changes its mind")
        else [[0] * n_tenants] * moments,
        capacity=capacity,
        every=every,
        **fixed,  # type: ignore[arg-type]
    )


def budgets(*, discounted: bool) -> st.SearchStrategy[BudgetConfig]:
    return st.builds(
        BudgetConfig,
        excess_share=st.sampled_from([0.0, 0.05, 0.5]),
        budget_caches=st.sampled_from([1.0, 1.5, 4.0, 10.0] if discounted else [0.0, 1.0, 1.5, 4.0, 10.0]),
        discount=st.sampled_from([0.5, 0.9, 0.99] if discounted else [1.0]),
    )


adversaries = st.one_of(st.just(spite), st.builds(lots, st.integers(0, 2**32 - 1)))


def holds(world: World, choose: Chooser, config: BudgetConfig) -> None:
    referee, guarded = replay(world, choose, config)
    target(-referee.least_slack, label="closest to the bound")
    assert referee.least_slack >= -ROUNDING
    assert len(referee.slacks) == len(world.keys)
    assert set(guarded.interventions) <= {"budget-spent", "budget-no-ghost"}


@settings(deadline=None, max_examples=150)
@given(worlds(), adversaries, budgets(discounted=False))
def test_the_cumulative_bound_holds_under_lru_where_suggestions_are_references(world, choose, config):
    holds(world, choose, config)


@settings(deadline=None, max_examples=150)
@given(worlds(), adversaries, budgets(discounted=True))
def test_the_discounted_bound_holds_at_every_access(world, choose, config):
    holds(world, choose, config)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve"]).flatmap(
        lambda name: worlds(eviction=name, touches=False, restores=True)
    ),
    adversaries,
    st.booleans().flatmap(lambda discounted: budgets(discounted=discounted)),
)
def test_with_restored_contents_it_holds_under_any_eviction_rule(world, choose, config):
    holds(world, choose, config)


# Why each condition is there.


class ShortReserve(BudgetCheck):
    """Keeps a reserve of ``reserve`` misses and not k + m."""

    reserve = 0.0

    def judge(self, context):
        verdict = super().judge(context)
        if verdict.reason == "budget-spent" and dict(verdict.evidence)["slack"] >= self.reserve:
            return Verdict("accept", self.name, "ok")
        return verdict


def short(reserve: float) -> Callable[[GuardConfig, Layout], Guard]:
    """Builds a guard whose budget keeps that reserve."""

    def build(config: GuardConfig, layout: Layout) -> Guard:
        check = ShortReserve(config.checks[0], layout)  # type: ignore[arg-type]
        check.reserve = reserve
        return Guard([check], config.supervisor)

    return build


def thrashing(**fixed: object) -> World:
    """A loop that fits: one arm leaves it alone, the other fills the cache with ids that nobody wants."""
    capacity = 16
    junk = tuple(range(1000, 1000 + capacity))
    keys = [row % capacity for row in range(capacity * 60)]
    table = [((), junk) for _ in keys]
    made = {"capacity": capacity, "every": 8, "eviction": "lru"} | fixed
    return World(keys, [0] * len(keys), table, [[0]] * len(keys), **made)  # type: ignore[arg-type]


def test_without_the_reserve_it_is_violated():
    config = BudgetConfig(excess_share=0.05, budget_caches=4.0)
    bare, guarded_bare = replay(thrashing(), lambda *_: 1, config, short(0.0))
    kept, guarded = replay(thrashing(), lambda *_: 1, config)
    assert bare.least_slack < -8
    assert kept.least_slack >= 0
    assert guarded.availability > 0  # the policy did rule, and did harm
    assert guarded_bare.availability > guarded.availability


def test_the_reserve_is_as_small_as_it_can_be():
    """k = 16, m = 8. The cold cache costs both alike; then m misses, and k more for the takeover: 24, or 23 and one."""
    exact, _ = replay(thrashing(), lambda *_: 1, BudgetConfig(excess_share=0.0, budget_caches=24 / 16))
    assert exact.least_slack == 0.0
    over, _ = replay(thrashing(), lambda *_: 1, BudgetConfig(excess_share=0.0, budget_caches=23 / 16), short(23.0))
    assert over.least_slack == -1.0


def two_back(k: int) -> list[tuple[int, tuple[int, ...]]]:
    """Demand goes down a loop of k + 1 ids, and each access suggests the id two steps on."""
    return [(-step % (k + 1), ((-step - 2) % (k + 1),)) for step in range(400)]


@pytest.mark.parametrize("touches", [False, True])
def test_a_takeover_costs_more_than_k_where_suggestions_that_are_there_are_left(touches):
    """k = 3: two caches that differ in one id, the same accesses and suggestions; one of them never recovers."""
    sick, sound = make_eviction("lru", 3), make_eviction("lru", 3)
    # Just before id 3 is accessed, least recent first.
    for key in (2, 1, 0):
        sick.insert(key)
    for key in (3, 0, 2):
        sound.insert(key)
    steps = two_back(3)[1:]
    assert steps[:2] == [(3, (1,)), (2, (0,))]
    misses = [sum(access(cache, key, ahead, touches) for key, ahead in steps) for cache in (sick, sound)]
    assert misses == ([2, 0] if touches else [len(steps), 0])


def test_so_the_bound_is_violated_where_suggestions_that_are_there_are_left():
    """A policy that withholds two fetches once makes the fallback itself miss for ever."""
    steps = two_back(3)
    keys = [key for key, _ in steps]
    table = [(ahead, ()) for _, ahead in steps]
    config = BudgetConfig(excess_share=0.05, budget_caches=3.0)

    def once(world: World, caches: Caches, tenant: int) -> int:
        return int(caches.row < 8)

    runs = {}
    for touches in (False, True):
        world = World(keys, [0] * len(keys), table, [[0]] * len(keys), capacity=3, every=2, touches=touches)
        runs[touches], _ = replay(world, once, config)
    assert runs[False].least_slack < -100
    assert runs[True].least_slack >= 0


@pytest.mark.parametrize("k", [1, 2])
def test_with_one_or_two_objects_it_makes_no_difference(k):
    """All pairs of contents, all strings of accesses and suggestions: the excess of one over the other is at most k."""
    ids = range(k + 3)
    states: list[tuple[int, ...]] = list(itertools.permutations(ids, k))
    excess = {(a, b): 0 for a in states for b in states}

    def after(state: tuple[int, ...], op: tuple[str, int]) -> tuple[tuple[int, ...], int]:
        kind, key = op
        if key in state:
            return ((key, *(other for other in state if other != key)) if kind == "access" else state), 0
        return (key, *state[:-1]), int(kind == "access")

    ops = [(kind, key) for kind in ("access", "suggest") for key in ids]
    while True:
        longer = {}
        for a, b in excess:
            best = 0
            for op in ops:
                (next_a, missed_a), (next_b, missed_b) = after(a, op), after(b, op)
                best = max(best, missed_a - missed_b + excess[next_a, next_b])
            longer[a, b] = best
        if longer == excess:
            break
        excess = longer
    assert max(excess.values()) == k


def test_fifo_has_no_such_bound():
    """The same rule under FIFO, k = 4, without restored contents: the fallback falls behind its own ghost for good."""
    rng = np.random.default_rng(np.random.SeedSequence(4))
    worst = 0
    for _ in range(200):
        one, other = make_eviction("fifo", 4), make_eviction("fifo", 4)
        for key in rng.permutation(6)[:4]:
            one.insert(int(key))
        for key in rng.permutation(6)[:4]:
            other.insert(int(key))
        behind = 0
        for _ in range(400):
            # The next id is one that hurts the first cache and not the second, where there is one.
            hurts = [key for key in range(6) if key not in one and key in other]
            key = hurts[0] if hurts else int(rng.integers(6))
            behind += access(one, key, (), False) - access(other, key, (), False)
        worst = max(worst, behind)
    assert worst > 4
