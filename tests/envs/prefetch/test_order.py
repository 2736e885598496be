"""What happens first when several things happen at one moment; each rule by a case worked out by hand."""

from __future__ import annotations

from cache_workloads import suggestions

from handrail.envs.prefetch import FIRST_USE, HIT, LATE, MERGED, MISS, CacheConfig, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace


def trace_of(rows: list[tuple[float, int]], **columns: object) -> AccessTrace:
    return AccessTrace([at_s for at_s, _ in rows], [key for _, key in rows], [1] * len(rows), **columns)


def simulator_of(rows, table=None, *, columns=None, objects: int = 8, decide="policy", **options) -> PrefetchSimulator:
    """Fetches hold the server for 1 s and arrive 2 s later, unless told otherwise; a hit takes no time."""
    tier = TierConfig(**{"latency_s": 2.0, "service_s": 0.0, "bandwidth_bytes_per_s": 1.0, **options.pop("tier", {})})
    values = {"prefetcher": "none", "menu": ("none", "next-line:4"), "hit_s": 0.0, "every_accesses": 1000, **options}
    with suggestions({"next-line": table or [()] * len(rows)}):
        return PrefetchSimulator(
            CacheConfig(objects=objects, tier=tier, **values), trace_of(rows, **(columns or {})), decide=decide
        )


def finish(simulator: PrefetchSimulator, arm: int = 1):
    while simulator.advance() is not None:
        simulator.apply(arm)
    return simulator.results()


def test_a_fetch_arrives_before_an_access_of_the_same_moment():
    results = finish(simulator_of([(0.0, 1), (3.0, 1)]))
    assert results.outcome.tolist() == [MISS, HIT]
    assert finish(simulator_of([(0.0, 1), (2.5, 1)])).outcome.tolist() == [MISS, MERGED]


def test_a_prefetch_arrives_before_an_access_of_the_same_moment():
    table = [(5,), (), ()]
    assert finish(simulator_of([(0.0, 1), (4.0, 5)], table)).outcome.tolist() == [MISS, FIRST_USE]
    assert finish(simulator_of([(0.0, 1), (3.9, 5)], table)).outcome.tolist() == [MISS, LATE]


def test_accesses_of_one_moment_come_in_the_order_of_the_trace():
    results = finish(simulator_of([(0.0, 1), (0.0, 2), (0.0, 1)]))
    assert results.outcome.tolist() == [MISS, MISS, MERGED]
    assert results.finish_s.tolist() == [3.0, 4.0, 3.0]


def test_a_miss_is_queued_before_the_prefetches_that_follow_it():
    results = finish(simulator_of([(0.0, 1), (0.0, 2)], [(7, 8), ()]))
    assert results.finish_s.tolist() == [3.0, 6.0]  # 1, then 7 and 8, then 2


def test_fetches_of_one_moment_arrive_in_the_order_in_which_they_left_the_server():
    """Work so small that it takes no time in floating point: 1, 2 and 3 arrive at 2 s, and only the last two stay."""
    quick = {"bandwidth_bytes_per_s": 1e300}
    rows = [(0.5, 1), (0.5, 2), (0.5, 3), (2.5, 2), (2.5, 3), (2.5, 1)]
    results = finish(simulator_of(rows, objects=2, tier=quick))
    assert results.finish_s[:3].tolist() == [2.5] * 3
    assert results.outcome.tolist() == [MISS, MISS, MISS, HIT, HIT, MISS]


def test_an_arm_comes_into_force_before_an_access_of_the_same_moment():
    table = [(11,), (12,), (13,)]
    simulator = simulator_of([(0.0, 1), (1.0, 2), (2.0, 3)], table, every_accesses=10)
    simulator.advance()
    simulator.apply(1, latency_s=1.0)
    assert simulator.advance() is None
    assert 11 not in simulator.engine.cache
    assert 12 in simulator.engine.cache
    assert 13 in simulator.engine.cache


def test_a_decision_comes_before_an_access_and_after_an_arrival_of_the_same_moment():
    table = [(), (9,), ()]
    simulator = simulator_of([(0.0, 1), (3.0, 2), (9.0, 9)], table, every_accesses=None, every_s=3.0)
    first = simulator.advance()
    assert first is not None
    assert (first.now_s, first.item) == (0.0, 0)
    simulator.apply(0)
    second = simulator.advance()
    assert second is not None
    assert (second.now_s, second.item) == (3.0, 1)
    assert simulator.outstanding == 0  # what arrives at 3 s has arrived
    assert second.outcomes[0].access_s == 3.0
    simulator.apply(1)
    assert finish(simulator).outcome.tolist() == [MISS, MISS, FIRST_USE]


def test_a_server_that_becomes_free_chooses_before_an_access_of_the_same_moment():
    """At 1 s the server takes the prefetch that waits, though a demand fetch comes at that very moment."""
    priority = {"discipline": "demand-first"}
    results = finish(simulator_of([(0.0, 1), (1.0, 2)], [(7,), ()], tier=priority))
    assert results.finish_s.tolist() == [3.0, 5.0]
    results = finish(simulator_of([(0.0, 1), (0.9, 2)], [(7,), ()], tier=priority))
    assert results.finish_s.tolist() == [3.0, 4.0]


def test_a_server_that_becomes_free_chooses_before_an_arrival_of_the_same_moment():
    """At 3 s the arrival of 1 drives out 5, which was written; the server has just taken prefetch 9."""
    rows = [(0.0, 5), (0.0, 1), (0.5, 6)]
    columns = {"is_write": [True, False, False]}
    simulator = simulator_of(
        rows, [(), (), (8, 9, 10)], columns=columns, objects=1, tier={"discipline": "demand-first"}
    )
    results = finish(simulator)
    # Server: 1 in 0-1, 6 in 1-2, 8 in 2-3, 9 in 3-4, the write-back of 5, which waits since 3, in 4-5, 10 in 5-6.
    assert results.finish_s.tolist() == [0.0, 3.0, 4.0]
    assert results.waited_s == (0.5, 1.5 + 2.5 + 4.5, 1.0)


def test_a_prefetch_that_is_waited_for_goes_to_the_end_of_the_demand_queue():
    """Server: 1 in 0-1, then 2 (demand since 0.1), 9 (prefetch, late at 0.2), 3 (demand since 0.3), then 7 and 8."""
    rows = [(0.0, 1), (0.1, 2), (0.2, 9), (0.3, 3)]
    table = [(7, 8, 9), (), (), ()]
    results = finish(simulator_of(rows, table, tier={"discipline": "demand-first"}))
    assert results.outcome.tolist() == [MISS, MISS, LATE, MISS]
    assert results.finish_s.tolist() == [3.0, 4.0, 5.0, 6.0]
    plain = finish(simulator_of(rows, table))
    assert plain.finish_s.tolist() == [3.0, 7.0, 6.0, 8.0]


def test_tenants_that_are_ready_at_one_moment_go_in_the_order_of_their_codes():
    columns = {"tenant": [1, 0, 1, 0], "tenant_names": ("a", "b")}
    for demand in ("closed", "paced"):
        results = finish(simulator_of([(0.0, 1), (0.0, 2), (0.0, 3), (0.0, 4)], columns=columns, demand=demand))
        assert results.row.tolist() == [1, 0, 3, 2]
        assert results.arrival_s.tolist() == [0.0, 0.0, 3.0, 4.0]


def test_under_a_window_a_fetch_arrives_before_the_access_that_waited_for_it():
    results = finish(simulator_of([(0.0, 1), (0.0, 1)], demand="closed"))
    assert results.outcome.tolist() == [MISS, HIT]
    assert results.arrival_s.tolist() == [0.0, 3.0]


def test_without_time_a_miss_arrives_before_its_prefetches_are_issued():
    """Object 1 drives out 7, so that a prefetch of 7 is issued; were it looked for before, it would be found."""
    rows = [(0.0, 7), (0.0, 1), (0.0, 7)]
    results = finish(simulator_of(rows, [(), (7,), ()], objects=1, demand="timeless"))
    assert results.outcome.tolist() == [MISS, MISS, FIRST_USE]
    assert results.prefetches.issued == 1
