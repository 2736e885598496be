"""A copy of a running simulator goes on exactly alike, and apart; what never changes is not copied."""

from __future__ import annotations

import copy
import sys
from types import FrameType

import numpy as np
import pytest
from prefetch_samples import three_tenants

from handrail.envs.prefetch import CacheConfig, MiddleConfig, PrefetchResults, PrefetchSimulator, TierConfig

MENU = ("none", "obl:1", "stride:4", "amp:4", "best-offset:2", "markov:2")
ACCOUNTS = ("prefetches", "prefetches_by_tenant", "issued_by_arm", "fetch_bytes", "work_s", "waited_s", "end_s")
COLUMNS = ("arrival_s", "finish_s", "access_s", "outcome", "row")


def simulator_of(n: int = 1_500, **options: object) -> PrefetchSimulator:
    rng = np.random.default_rng(8)
    trace = three_tenants(n, is_write=rng.random(n) < 0.15, size_bytes=rng.integers(1_000, 8_000, n))
    values = {
        "objects": 120,
        "tier": TierConfig(latency_s=6e-3, service_s=5e-4, discipline=options.pop("discipline", "fifo")),
        "menu": MENU,
        "every_accesses": 20,
        "ghost": True,
        **options,
    }
    return PrefetchSimulator(CacheConfig(**values), trace, decide="policy")


def go_on(simulator: PrefetchSimulator, decisions: int | None, salt: int = 0) -> list[tuple[object, ...]]:
    """Answer so many decisions, or all that come."""
    points = []
    while decisions is None or len(points) < decisions:
        point = simulator.advance()
        if point is None:
            return points
        points.append((point.now_s, point.item, point.tenant, point.outcomes, simulator.ghost_misses))
        simulator.apply((point.decision * 5 + salt) % len(MENU), 2e-3 * (point.decision % 2))
    return points


def same(one: PrefetchResults, other: PrefetchResults) -> None:
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), err_msg=column)
    for account in (
        "prefetches",
        "prefetches_by_tenant",
        "issued_by_arm",
        "fetch_bytes",
        "work_s",
        "waited_s",
        "end_s",
    ):
        assert getattr(one, account) == getattr(other, account), account


CASES = {
    "open": {},
    "paced, priorities": {"demand": "paced", "window": 3, "discipline": "demand-first"},
    "closed, bounded, a tenant at a time": {"demand": "closed", "discipline": "bounded", "per_tenant": True},
    "timeless": {"demand": "timeless"},
    "seconds": {"every_accesses": None, "every_s": 0.02},
    "middle": {
        "middle": MiddleConfig(objects=300, tier=TierConfig(discipline="demand-first")),
        "discipline": "demand-first",
    },
    "bytes": {"objects": None, "size_bytes": 400_000},
    "seen": {"backing": "seen"},
} | {rule: {"eviction": rule} for rule in ("fifo", "clock", "lfu", "arc", "s3fifo", "sieve")}


@pytest.mark.parametrize("case", CASES)
def test_a_fork_goes_on_exactly_alike(case):
    whole = simulator_of(**CASES[case])
    expected = go_on(whole, None)
    simulator = simulator_of(**CASES[case])
    go_on(simulator, 30)
    fork = copy.deepcopy(simulator)
    other = copy.deepcopy(fork)
    # A fork that goes another way leaves the others alone.
    go_on(other, None, salt=1)
    assert go_on(fork, None) == expected[30:]
    assert go_on(simulator, None) == expected[30:]
    same(fork.results(), whole.results())
    same(simulator.results(), whole.results())
    assert not np.array_equal(other.results().outcome, whole.results().outcome)


def test_a_fork_between_question_and_answer_is_asked_too():
    simulator = simulator_of()
    go_on(simulator, 10)
    point = simulator.advance()
    assert point is not None
    fork = copy.deepcopy(simulator)
    for each in (simulator, fork):
        each.apply(1)
    assert go_on(fork, None) == go_on(simulator, None)
    same(fork.results(), simulator.results())


@pytest.mark.parametrize("demand", ["open", "paced"])
def test_what_never_changes_is_shared(demand):
    simulator = simulator_of(demand=demand)
    go_on(simulator, 10)
    fork = copy.deepcopy(simulator)
    assert fork.trace is simulator.trace
    assert fork.engine is not simulator.engine
    assert fork.engine.trace is simulator.trace
    for column in ("_keys", "_sizes", "tenants", "_writes"):
        assert getattr(fork.engine, column) is getattr(simulator.engine, column)
    for name, rows in simulator.engine.sources.tapes.items():
        assert fork.engine.sources.tapes[name] is rows
    assert (fork.engine.times is simulator.engine.times) == (demand == "open")  # others fill it in
    assert fork.counters[0] is fork.engine.counters[0]
    assert fork.tier is fork.engine.tier
    assert fork.tier._clock is fork._clock
    assert fork._pace._queue is fork._clock._queue


def calls_of_a_copy(simulator: PrefetchSimulator) -> int:
    """Python calls that a copy takes: a measure of its cost that depends on no clock."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        copy.deepcopy(simulator)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("demand", ["open", "paced"])
def test_the_cost_of_a_fork_does_not_grow_with_the_trace(demand):
    menu = ("none", "obl:1", "stride:4", "markov:2", "leap:4", "readahead:8")
    simulators = [simulator_of(n, demand=demand, menu=menu) for n in (1_000, 30_000)]
    for simulator in simulators:
        go_on(simulator, 20)
    short, long = (calls_of_a_copy(simulator) for simulator in simulators)
    assert 100 < short < 20_000
    assert long < 1.5 * short
