"""A fork goes on exactly as the simulator would have, whatever either does, and neither disturbs the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from implementations import request_trace
from llm_fleets import Run, assert_identical, draw_fleet, nth_up, picks
from workloads import PREFIX_TOKENS, Pick, seeded

from handrail.envs.llm_serving import FleetConfig, LatencyModel, ReplicaConfig, ServingSimulator
from handrail.envs.llm_serving.ledger import Ledger
from handrail.traces import HandrailError, RequestTrace


def assert_same(one: Run, other: Run) -> None:
    assert one.seen == other.seen
    assert one.simulator.charged_s() == other.simulator.charged_s()
    assert one.simulator.cost_s() == other.simulator.cost_s()
    assert_identical(one.simulator.results(), other.simulator.results())


def check_forks(pick: Pick) -> int:
    """One random run, forked at random decisions; returns the requests in flight at the first fork."""
    config, requests, latencies = draw_fleet(pick)
    trace = request_trace(requests, PREFIX_TOKENS)
    stepwise = pick(0, 3) == 0

    def start() -> Run:
        return Run.start(ServingSimulator(config, trace, stepwise=stepwise))

    usual, other = nth_up(0, latencies), nth_up(1, {})
    unforked = start().go(usual)
    run = start()
    first, second, third = sorted(pick(0, len(unforked.seen)) for _ in range(3))
    run.go(usual, first)
    in_flight = run.simulator.in_system
    early, strayed = run.fork(), run.fork()
    strayed.go(other, second)
    strayed_twin = strayed.fork()
    run.go(usual, second)
    middle = run.fork()
    early.go(usual, third, rest_s=pick(1, 40) / 8)
    twin = early.fork()
    assert_same(twin.go(usual), unforked)
    assert_same(strayed_twin.go(other, rest_s=1.75), strayed.go(other))
    assert_same(strayed_twin, start().go(usual, first).go(other))
    assert_same(middle.go(usual), unforked)
    assert_same(run.go(usual), unforked)
    assert_same(early.go(usual), unforked)
    return in_flight


@settings(max_examples=150, deadline=None)
@given(pick=picks())
def test_forks_go_on_as_the_run_would_have(pick):
    event(f"in flight at the first fork: {min(check_forks(pick), 8)}")


def test_seeded_forks_go_on_as_the_run_would_have():
    in_flight = [check_forks(seeded(seed)) for seed in range(250)]
    assert sum(count > 4 for count in in_flight) > 40


def small_run(n: int = 40) -> ServingSimulator:
    rng = np.random.default_rng(3)
    trace = RequestTrace(
        arrival_s=np.cumsum(rng.exponential(0.5, n)),
        prompt_tokens=rng.integers(1, 300, n),
        output_tokens=rng.integers(1, 60, n),
    )
    replica = ReplicaConfig(latency=LatencyModel.constant(0.1), kv_capacity_tokens=3200, max_num_seqs=8)
    return ServingSimulator(FleetConfig(replicas=(replica, replica)), trace)


def test_advance_until_stops_between_decisions():
    simulator = small_run()
    point = simulator.advance()
    assert point is not None
    simulator.apply(0)
    following_s = float(simulator.trace.arrival_s[1])
    assert simulator.advance_until(following_s - 0.001) is None
    assert simulator.now_s == following_s - 0.001
    point = simulator.advance_until(following_s)
    assert point is not None
    assert point.request == 1
    with pytest.raises(HandrailError, match="before apply"):
        simulator.advance_until(9.0)
    simulator.apply(1)
    with pytest.raises(HandrailError, match="already"):
        simulator.advance_until(0.0)


def test_advance_until_ends_with_the_run():
    simulator = small_run(3)
    while simulator.advance_until(1e6) is not None:
        simulator.apply(0)
    assert simulator.done
    assert simulator.now_s == np.nanmax(simulator.results().finish_s)


def test_the_charge_is_that_of_the_requests():
    run = Run.start(small_run()).go(nth_up(0, {}))
    results = run.simulator.results()
    before_token_s = (results.first_token_s - results.arrival_s).sum()
    in_system_s = (results.finish_s - results.arrival_s).sum()
    assert run.simulator.charged_s() == pytest.approx(before_token_s + 0.1 * in_system_s, rel=1e-12)


def test_a_fork_keeps_the_decision_open():
    simulator = small_run()
    simulator.advance()
    fork = simulator.fork()
    assert fork.request_at_decision is not simulator.request_at_decision
    assert fork.request_at_decision.row == simulator.request_at_decision.row
    with pytest.raises(HandrailError, match="before apply"):
        fork.advance()


def test_an_observer_follows_only_a_fork_that_has_its_view():
    observer = Run.start(small_run()).observer
    with pytest.raises(HandrailError, match="takes a fork"):
        observer.fork(small_run())


def test_a_ledger_and_its_forks_share_the_past_only():
    rng = np.random.default_rng(0)
    ledgers: list[tuple[Ledger, list[float]]] = [(Ledger(), [])]
    for _ in range(400):
        ledger, written = ledgers[int(rng.integers(len(ledgers)))]
        row = rng.normal(size=2 * int(rng.integers(0, 3_000) if rng.random() < 0.1 else rng.integers(0, 4))).tolist()
        ledger.tail.extend(row)
        written.extend(row)
        if rng.random() < 0.3:
            ledgers.append((ledger.fork(), list(written)))
    assert len(ledgers) > 50
    for ledger, written in ledgers:
        assert ledger.rows(2).ravel().tolist() == written
