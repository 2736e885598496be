"""A fork goes on exactly as its original would have, and neither changes the other, whatever is configured."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from fork_checks import answer, assert_same, play
from hypothesis import given, settings
from hypothesis import strategies as st
from prefetch_samples import three_tenants

from handrail.envs.prefetch import (
    CacheConfig,
    MiddleConfig,
    PrefetchObserver,
    PrefetchSimulator,
    TierConfig,
    history,
    layers,
)
from handrail.traces.errors import HandrailError

MENU = ("none", "obl:1", "stride:4", "amp:8", "best-offset:2", "markov:2", "readahead:8")
RULES = ("lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady")


@st.composite
def setups(draw) -> tuple[CacheConfig, int]:
    demand = draw(st.sampled_from(["open", "paced", "closed", "timeless"]))
    discipline = draw(st.sampled_from(["fifo", "demand-first", "bounded"]))
    slowdowns = draw(st.sampled_from([(), ((0.1, 0.5, 3.0),)]))
    tier = TierConfig(latency_s=6e-3, service_s=5e-4, discipline=discipline, prefetch_queue=3, slowdowns=slowdowns)
    middle = draw(st.sampled_from([None, MiddleConfig(objects=150, tier=TierConfig(discipline="demand-first"))]))
    rule = draw(st.sampled_from(RULES))
    controller, prefetcher = draw(st.sampled_from([("hysteresis", "obl"), ("feedback", "obl"), ("bandit", "obl")]))
    ghost = draw(st.booleans()) and rule != "belady" and controller == "hysteresis"
    capacity = draw(st.sampled_from([{"objects": 60}, {"size_bytes": 250_000}]))
    by_time = demand != "timeless" and draw(st.booleans())
    ladder = ("obl:2", "obl:4", "obl:8", "obl:16") if controller == "feedback" else ()
    config = CacheConfig(
        **capacity,
        eviction=rule,
        tier=tier,
        middle=middle,
        demand=demand,
        window=draw(st.integers(1, 4)),
        backing=draw(st.sampled_from(["all", "seen"])),
        prefetch_touches=draw(st.booleans()),
        prefetcher=prefetcher,
        controller=controller,
        menu=MENU + ladder,
        per_tenant=draw(st.booleans()),
        every_accesses=None if by_time else draw(st.integers(3, 40)),
        every_s=0.02 if by_time else None,
        ghost=ghost,
    )
    return config, draw(st.integers(0, 3))


ANSWERS = st.lists(st.tuples(st.integers(0, 10), st.sampled_from([0.0, 0.0, 3e-3])), min_size=1, max_size=8)


def build(config: CacheConfig, seed: int) -> PrefetchSimulator:
    rng = np.random.default_rng(seed)
    n = 500
    trace = three_tenants(n, seed, is_write=rng.random(n) < 0.15, size_bytes=rng.integers(1_000, 8_000, n))
    return PrefetchSimulator(config, trace, decide="policy", rows=(100, n), warm=60)


@settings(max_examples=120, deadline=None)
@given(setups(), ANSWERS, ANSWERS, st.integers(0, 25), st.integers(0, 8), st.booleans())
def test_forks_go_on_exactly_and_apart(setup, answers, others, before, between, layered):
    # Small limits put containers into layers and finished rows into chunks in replays as short as these.
    small = 4 if layered else 2048
    with (
        patch.object(layers, "COPIED_UP_TO", small),
        patch.object(layers, "MOST_CHANGES", small),
        patch.object(history, "SEALED_AT", small),
    ):
        whole = build(*setup)
        expected = play(whole, answers, observer=PrefetchObserver(whole))
        simulator = build(*setup)
        observer = PrefetchObserver(simulator)
        assert play(simulator, answers, before, observer) == expected[:before]

        fork = simulator.fork()
        seen_by_fork = observer.fork(fork)
        play(fork, others, between)  # another way first, in a fork of it all
        stray = fork.fork()
        play(stray, answers)

        again = simulator.fork()
        rest = play(again, answers, between, observer.fork(again))
        assert rest == expected[before : before + between]
        of_fork = again.fork()
        play(fork, others)
        play(simulator, answers, between, observer)
        point = simulator.advance()
        open_fork = simulator.fork()
        open_observer = observer.fork(open_fork)
        if point is not None:
            assert open_fork.is_asking
            assert open_observer(point).tobytes() == observer(point).tobytes()
            answer(simulator, answers)
            answer(open_fork, answers)
        tail = expected[before + between + 1 :]
        assert play(simulator, answers, observer=observer) == tail
        assert play(open_fork, answers, observer=open_observer) == tail
        play(of_fork, answers)
        for each in (simulator, open_fork, of_fork, again if again.accesses == whole.accesses else simulator):
            each.engine.check_invariants()
            assert_same(each.results(), whole.results())
        assert seen_by_fork.layout is observer.layout


@settings(max_examples=80, deadline=None)
@given(setups(), ANSWERS, st.lists(st.floats(0.0, 0.7), min_size=1, max_size=12))
def test_stops_at_given_times_change_nothing(setup, answers, stops):
    whole = build(*setup)
    expected = play(whole, answers)
    simulator = build(*setup)
    seen, charged = [], 0.0
    for until_s in sorted(stops):
        while (point := simulator.advance_until(until_s)) is not None:
            assert point.now_s <= max(until_s, simulator.now_s)
            seen.append(point.now_s)
            answer(simulator, answers)
        assert simulator.now_s >= until_s or simulator.accesses == simulator.engine.n
        assert simulator.charged_s() >= charged - 1e-9
        charged = simulator.charged_s()
    seen += [entry[0] for entry in play(simulator, answers)]
    assert seen == [entry[0] for entry in expected]
    assert_same(simulator.results(), whole.results())


def test_a_stop_in_time_needs_an_answer_first_and_a_time():
    simulator = build(CacheConfig(objects=50), 0)
    with pytest.raises(HandrailError, match="nan"):
        simulator.advance_until(float("nan"))
    assert simulator.advance_until(10.0) is not None
    with pytest.raises(HandrailError, match="apply"):
        simulator.advance_until(11.0)


def test_what_is_charged_is_what_accesses_took():
    simulator = build(CacheConfig(objects=50), 0)
    play(simulator, [(0, 0.0)])
    assert simulator.charged_s() == pytest.approx(simulator.results().access_s.sum())


def test_what_is_finished_is_shared_in_chunks():
    with patch.object(history, "SEALED_AT", 16):
        simulator = build(CacheConfig(objects=50), 0)
        play(simulator, [(0, 0.0)], 4)
        forks = [simulator.fork()]
        play(simulator, [(0, 0.0)])
        forks.append(simulator.fork())
        columns = [each.engine.missed_rows for each in (simulator, *forks)]
        assert len(columns[0].sealed) == 2
        assert columns[2].sealed is columns[0].sealed
        assert columns[1].sealed[0] is columns[0].sealed[0]
        assert len(columns[0]) == 0
        np.testing.assert_array_equal(columns[0].values(), columns[2].values())
        assert columns[0].since(3) == columns[0].values()[3:].tolist()
        assert columns[0].since(len(columns[0].values())) == []
