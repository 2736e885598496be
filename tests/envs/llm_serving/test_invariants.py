"""What holds on every run: conservation, scale invariance, monotony of a single server, exact copies."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implementations import replay, replica_config, request_trace, round_robin
from llm_fleets import assert_identical, draw_fleet, picks
from workloads import PREFIX_TOKENS, Workload, draw_workload, seeded

from handrail.envs.llm_serving import (
    FINISHED,
    REJECTED,
    DecisionPoint,
    FleetConfig,
    RouterObserver,
    ServingResults,
    ServingSimulator,
)


def conserved(simulator: ServingSimulator) -> None:
    """Every request that arrived is in exactly one place, and every KV block is free or held."""
    assert simulator.arrived == simulator.finished_count + simulator.rejected + simulator.in_system
    queued = len(simulator._pending) + len(simulator._held)
    inside = sum(len(replica.waiting) + len(replica.running) for replica in simulator.replicas)
    assert queued + inside <= simulator.in_system
    for replica in simulator.replicas:
        assert 0 <= replica.kv.free <= replica.total_blocks
        assert replica.up or not (replica.waiting or replica.running)
        assert len(replica.running) <= replica.max_num_seqs
        assert 0 <= replica.n <= len(replica.running)
        if not replica.running:
            assert replica.kv.free == replica.total_blocks - replica._withheld
        for request in replica.waiting:
            known = request.prompt + request.generated
            assert request.pending == known or (replica.prefix_caching and 0 < request.pending < known)
        partial = replica.partial
        left = 0 if partial is None else partial.prompt + partial.generated - partial.computed
        assert replica.pending_tokens == left + sum(request.pending for request in replica.waiting)


def all_inside(simulator: ServingSimulator) -> None:
    """Where decisions take no time, nobody is on the way."""
    conserved(simulator)
    queued = len(simulator._pending) + len(simulator._held)
    inside = sum(len(replica.waiting) + len(replica.running) for replica in simulator.replicas)
    assert queued + inside == simulator.in_system
    tokenless = [r for replica in simulator.replicas for r in (*replica.waiting, *replica.running)]
    tokenless += [*simulator._pending, *simulator._held]
    assert simulator.without_token == sum(request.first_token_s < 0.0 for request in tokenless)


def assert_tokens_conserved(results: ServingResults) -> None:
    finished = results.status == FINISHED
    assert (finished | (results.status == REJECTED)).all()
    np.testing.assert_array_equal(results.tokens_generated[finished], results.output_tokens[finished])
    if finished.all():
        assert results.token_gaps.count == int((results.output_tokens - 1).sum())
        several = results.output_tokens > 1
        np.testing.assert_array_equal(np.isnan(results.longest_gap_s), ~several)
        span_s = (results.finish_s - results.first_token_s)[several]
        # The gaps of a request add up to the time between its first and last token.
        total_s = results.token_gaps.mean() * results.token_gaps.count if several.any() else 0.0
        np.testing.assert_allclose(total_s, span_s.sum(), rtol=1e-9, atol=1e-9 * results.end_s)


@pytest.mark.parametrize("stepwise", [False, True])
def test_nothing_is_lost_at_any_event(stepwise):
    finished = 0
    for seed in range(150):
        config, requests, latencies = draw_fleet(seeded(10_000 + seed))
        trace = request_trace(requests, PREFIX_TOKENS)
        results = replay(
            config,
            trace,
            stepwise=stepwise,
            check=conserved if latencies else all_inside,
            latency_s=lambda number, latencies=latencies: latencies.get(number, 0.0),
        )
        assert_tokens_conserved(results)
        finished += int((results.status == FINISHED).all())
    assert finished > 20


def scaled(workload: Workload, factor: float) -> Workload:
    """The same workload with every time multiplied by ``factor``."""
    engine = replace(workload.engine, step_overhead_s=workload.engine.step_overhead_s * factor)
    requests = tuple(replace(r, arrival_s=r.arrival_s * factor) for r in workload.requests)
    return Workload(engine, workload.latency.scaled(factor), requests)


def run_fast(workload: Workload) -> ServingResults:
    config = FleetConfig(replicas=(replica_config(workload.engine, workload.latency),))
    return replay(config, request_trace(workload.requests, PREFIX_TOKENS))


@settings(max_examples=100, deadline=None)
@given(pick=picks(), exponent=st.sampled_from([-20, -3, -1, 1, 2, 10]), exact=st.booleans())
def test_times_scale_by_powers_of_two_bit_for_bit(pick, exponent, exact):
    workload = draw_workload(pick, exact=exact)
    factor = 2.0**exponent
    before, after = run_fast(workload), run_fast(scaled(workload, factor))
    for column in ("scheduled_s", "first_token_s", "finish_s", "longest_gap_s", "gap_p99_s"):
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column) * factor, err_msg=column)
    np.testing.assert_array_equal(after.preemptions, before.preemptions)


@settings(max_examples=100, deadline=None)
@given(pick=picks(), thousandths=st.integers(1, 1000))
def test_with_one_seat_a_faster_model_delays_nobody(pick, thousandths):
    workload = draw_workload(pick)
    slow = replace(workload, engine=replace(workload.engine, max_num_seqs=1))
    fast = replace(slow, latency=slow.latency.scaled(thousandths / 1000))
    before, after = run_fast(slow), run_fast(fast)
    slack = 1e-12 * before.end_s
    for column in ("scheduled_s", "first_token_s", "finish_s"):
        was, now = getattr(before, column), getattr(after, column)
        assert (np.isnan(was) == np.isnan(now)).all()
        assert (np.nan_to_num(now) <= np.nan_to_num(was) + slack).all(), column


def test_under_batching_a_faster_model_can_delay_a_request():
    """So the property above is one of the single seat, and no accident of these workloads."""

    def delays(seed: int) -> bool:
        workload = draw_workload(seeded(seed))
        before = run_fast(workload)
        after = run_fast(replace(workload, latency=workload.latency.scaled(0.9)))
        return bool((np.nan_to_num(after.finish_s) > np.nan_to_num(before.finish_s) * (1 + 1e-9)).any())

    assert any(delays(seed) for seed in range(60))


@pytest.mark.parametrize("seed", range(6))
def test_a_copy_of_a_running_simulator_continues_identically(seed):
    config, requests, _ = draw_fleet(seeded(20_000 + seed))
    trace = request_trace(requests, PREFIX_TOKENS)
    simulator = ServingSimulator(config, trace)
    route = round_robin(simulator)
    fork, number = None, 0
    while (point := simulator.advance()) is not None:
        if number == len(requests) // 2:
            fork = copy.deepcopy(simulator)
            fork.apply(route(point))
        simulator.apply(route(point))
        number += 1
    assert fork is not None
    while (point := fork.advance()) is not None:
        fork.apply(route(point))
    assert_identical(fork.results(), simulator.results())


class Watching:
    """Round robin that keeps what it observes, and the router's books."""

    def __init__(self, simulator: ServingSimulator) -> None:
        self.route = round_robin(simulator)
        self.observer = RouterObserver(simulator)
        self.seen: list[np.ndarray] = []

    def __call__(self, point: DecisionPoint) -> int:
        self.seen.append(self.observer(point))
        return self.route(point)


def test_being_watched_changes_nothing_and_both_modes_look_the_same():
    outages = 0
    for seed in range(100):
        config, requests, latencies = draw_fleet(seeded(40_000 + seed))
        trace = request_trace(requests, PREFIX_TOKENS)
        options = {"latency_s": lambda number, latencies=latencies: latencies.get(number, 0.0)}
        watchers: list[Watching] = []

        def watch(simulator: ServingSimulator, watchers: list[Watching] = watchers) -> Watching:
            watchers.append(Watching(simulator))
            return watchers[-1]

        unwatched = replay(config, trace, **options)
        for stepwise in (False, True):
            assert_identical(unwatched, replay(config, trace, router=watch, stepwise=stepwise, **options))
        fast, stepwise = watchers
        np.testing.assert_array_equal(np.array(fast.seen), np.array(stepwise.seen))
        books = fast.observer.view
        assert (books.inflight == 0).all()
        assert (books.prefill_tokens == 0).all()
        np.testing.assert_allclose(books.decode_tokens, 0, atol=1e-6)
        outages += len(config.outages)
    assert outages > 50


def test_two_runs_are_identical():
    config, requests, _ = draw_fleet(seeded(30_000))
    trace = request_trace(requests, PREFIX_TOKENS)
    assert_identical(replay(config, trace), replay(config, trace))
