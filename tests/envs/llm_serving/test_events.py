"""Outages, decisions that take time, and the order of simultaneous events, on cases worked out by hand.

Every step takes 1 s and decisions follow a given list, so that each time can be told by counting steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from implementations import replica_config, request_trace
from naive_vllm import Engine, Request

from handrail.envs.llm_serving import (
    FINISHED,
    REJECTED,
    DecisionPoint,
    FleetConfig,
    LatencyModel,
    Outage,
    PiecewiseLinear,
    RouterObserver,
    ServingResults,
    ServingSimulator,
)
from handrail.traces import HandrailError, RequestTrace

ENGINE = Engine(block_tokens=4, max_num_batched_tokens=16, max_num_seqs=4)
ONE_SECOND = LatencyModel.constant(1.0)


class Run:
    """A run with the decisions ``choices``, and what was seen at each decision."""

    def __init__(
        self,
        config: FleetConfig,
        trace: RequestTrace,
        choices: Sequence[int],
        latency_s: float = 0.0,
        stepwise: bool = False,
        observe: bool = False,
    ) -> None:
        self.points: list[DecisionPoint] = []
        simulator = ServingSimulator(config, trace, stepwise=stepwise)
        observer = RouterObserver(simulator) if observe else None
        while (point := simulator.advance()) is not None:
            if observer is not None:
                observer(point)
            self.points.append(point)
            simulator.apply(choices[len(self.points) - 1], latency_s)
        self.results: ServingResults = simulator.results()
        assert len(self.points) == len(choices)

    @property
    def decided(self) -> list[tuple[int, float]]:
        return [(point.request, point.now_s) for point in self.points]

    @property
    def masks(self) -> list[list[bool]]:
        return [point.action_mask.tolist() for point in self.points]

    @property
    def finish(self) -> list[float]:
        return self.results.finish_s.tolist()

    @property
    def first(self) -> list[float]:
        return self.results.first_token_s.tolist()


@pytest.fixture(params=[False, True], ids=["fast", "stepwise"])
def stepwise(request):
    return request.param


def fleet(n: int, *outages: tuple[int, float, float], engine: Engine = ENGINE, latency=ONE_SECOND) -> FleetConfig:
    return FleetConfig(
        replicas=(replica_config(engine, latency),) * n,
        outages=tuple(Outage(replica=r, down_s=down, up_s=up) for r, down, up in outages),
    )


def test_a_displaced_request_is_recomputed_elsewhere(stepwise):
    # Replica 0 fails at 2.5: the tokens of 1 and 2 are out, the step [2,3] is lost.  Replica 1 recomputes 4 + 2 tokens
    # in [2.5,3.5], which emits the third; the last two follow.
    run = Run(fleet(2, (0, 2.5, 9)), request_trace([Request(0, 4, 5)]), [0, 1], stepwise=stepwise)
    assert run.decided == [(0, 0.0), (0, 2.5)]
    assert run.masks == [[True, True], [False, True]]
    assert run.first == [1]
    assert run.finish == [5.5]
    assert run.results.replica.tolist() == [1]
    assert run.results.longest_gap_s.tolist() == [1.5]
    assert run.results.token_gaps.count == 4
    assert run.results.preemptions.tolist() == [0]


def test_recomputation_elsewhere_costs_prompt_and_output(stepwise):
    # 1 s and 1 s a token.  Tokens at 5, 7, 9; replica 0 fails at 9.5.  4 + 3 tokens take 8 s: 17.5, then 19.5.
    latency = LatencyModel(1.0, PiecewiseLinear.linear(1.0))
    trace = request_trace([Request(0, 4, 5)])
    run = Run(fleet(2, (0, 9.5, 99), latency=latency), trace, [0, 1], stepwise=stepwise)
    assert run.finish == [19.5]


def test_an_outage_goes_before_a_boundary_at_the_same_time(stepwise):
    # The step [2,3] ends as the replica fails: its token is lost.  [3,4] recomputes and emits the third.
    run = Run(fleet(2, (0, 3, 9)), request_trace([Request(0, 4, 5)]), [0, 1], stepwise=stepwise)
    assert run.finish == [6]
    assert run.results.longest_gap_s.tolist() == [2]


def test_an_outage_goes_before_an_arrival_at_the_same_time(stepwise):
    # A is displaced before B arrives, and B finds replica 0 down; C comes as replica 0 is back.
    trace = request_trace([Request(0, 1, 9), Request(3, 1, 1), Request(5, 1, 1)])
    run = Run(fleet(2, (0, 3, 5)), trace, [0, 1, 1, 0], stepwise=stepwise)
    assert run.decided == [(0, 0.0), (0, 3.0), (1, 3.0), (2, 5.0)]
    assert run.masks == [[True, True], [False, True], [False, True], [True, True]]
    assert run.finish == [10, 4, 6]


def test_one_replica_may_fail_as_another_comes_back(stepwise):
    # Both at 3, when A has its first token and loses the step that makes the second: 8 more steps on replica 1.
    trace = request_trace([Request(1, 1, 9)])
    for outages in ([(1, 0, 3), (0, 3, 5)], [(0, 3, 5), (1, 0, 3)]):
        run = Run(fleet(2, *outages), trace, [0, 1], stepwise=stepwise)
        assert run.decided == [(0, 1.0), (0, 3.0)]
        assert run.masks == [[True, False], [False, True]]
        assert run.finish == [11]


def test_outages_that_touch_are_one_outage(stepwise):
    # Down over [0,3) and [3,5), in either order of the config.
    for outages in ([(0, 0, 3), (0, 3, 5)], [(0, 3, 5), (0, 0, 3)]):
        run = Run(fleet(1, *outages), request_trace([Request(3.5, 1, 1)]), [0], stepwise=stepwise)
        assert run.decided == [(0, 5.0)]
        assert run.finish == [6]


def test_requests_wait_while_every_replica_is_down(stepwise):
    trace = request_trace([Request(0, 4, 3), Request(2, 1, 1), Request(2.5, 1, 1)])
    run = Run(fleet(1, (0, 1.5, 4)), trace, [0, 0, 0, 0], stepwise=stepwise)
    assert run.decided == [(0, 0.0), (0, 4.0), (1, 4.0), (2, 4.0)]
    assert run.first == [1, 5, 5]
    assert run.finish == [6, 5, 5]


def test_a_replica_that_comes_back_has_an_empty_cache(stepwise):
    # 8 shared tokens.  At 20 the second block is left to compute, 4 tokens; after the outage all 8.
    latency = LatencyModel(1.0, PiecewiseLinear.linear(1.0))
    engine = Engine(block_tokens=4, max_num_batched_tokens=16, max_num_seqs=4, prefix_caching=True)
    trace = request_trace([Request(at, 8, 1, (7,)) for at in (0, 20, 40)])
    assert Run(fleet(1, engine=engine, latency=latency), trace, [0, 0, 0], stepwise=stepwise).finish == [9, 25, 45]
    outage = fleet(1, (0, 30, 31), engine=engine, latency=latency)
    assert Run(outage, trace, [0, 0, 0], stepwise=stepwise).finish == [9, 25, 49]


def test_a_decision_takes_its_time(stepwise):
    # The request gets there at 0.75 and finds an idle engine.
    run = Run(fleet(1), request_trace([Request(0.5, 1, 2)]), [0], latency_s=0.25, stepwise=stepwise)
    assert run.results.scheduled_s.tolist() == [0.75]
    assert run.finish == [2.75]


def test_a_request_on_its_way_to_a_failed_replica_is_decided_again(stepwise):
    run = Run(fleet(2, (0, 0.5, 9)), request_trace([Request(0, 1, 1)]), [0, 1], latency_s=1.0, stepwise=stepwise)
    assert run.decided == [(0, 0.0), (0, 1.0)]
    assert run.finish == [3]


def test_simultaneous_arrivals_are_decided_in_the_order_of_the_trace(stepwise):
    # One seat: the earlier row is served first.
    engine = Engine(block_tokens=4, max_num_batched_tokens=16, max_num_seqs=1)
    run = Run(fleet(1, engine=engine), request_trace([Request(1, 1, 1)] * 3), [0, 0, 0], stepwise=stepwise)
    assert run.decided == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert run.finish == [2, 3, 4]


def test_deliveries_and_arrivals_go_in_the_order_of_the_trace(stepwise):
    # A is delivered at 1 after a slow decision, just as B arrives and is decided at once. A is the earlier row.
    engine = Engine(block_tokens=4, max_num_batched_tokens=16, max_num_seqs=1)
    trace = request_trace([Request(0, 1, 1), Request(1, 1, 1)])
    simulator = ServingSimulator(fleet(1, engine=engine), trace, stepwise=stepwise)
    for latency_s in (1.0, 0.0):
        assert simulator.advance() is not None
        simulator.apply(0, latency_s)
    assert simulator.advance() is None
    assert simulator.results().finish_s.tolist() == [2, 3]


def test_boundaries_at_the_same_time_go_in_the_order_of_the_replicas(stepwise):
    # All end at 2; the outcomes that the router sees next are in the order of the replicas, not of the requests.
    trace = request_trace([Request(0, 1, 2), Request(0, 1, 2), Request(0, 1, 2), Request(5, 1, 1)])
    run = Run(fleet(3), trace, [2, 0, 1, 0], stepwise=stepwise, observe=True)
    assert [(o.request, o.replica) for o in run.points[-1].outcomes] == [(1, 0), (2, 1), (0, 2)]
    assert {o.e2e_s for o in run.points[-1].outcomes} == {2.0}


def test_a_request_that_ends_as_another_arrives_has_not_been_seen_yet(stepwise):
    # Arrivals go before boundaries: at 2 the first request's end is still to come.
    trace = request_trace([Request(0, 1, 2), Request(2, 1, 1), Request(2.5, 1, 1)])
    run = Run(fleet(2), trace, [0, 1, 1], stepwise=stepwise, observe=True)
    assert [len(point.outcomes) for point in run.points] == [0, 0, 1]


def test_different_replicas_reject_what_they_cannot_hold():
    small = Engine(block_tokens=4, total_blocks=2, max_num_batched_tokens=16, max_num_seqs=4)
    config = FleetConfig(replicas=(replica_config(ENGINE, ONE_SECOND), replica_config(small, ONE_SECOND)))
    run = Run(config, request_trace([Request(0, 8, 1), Request(0, 8, 1)]), [0, 1])
    assert run.results.status.tolist() == [FINISHED, REJECTED]
    assert run.results.tokens_generated.tolist() == [1, 0]
    assert np.isnan(run.results.finish_s[1])


def test_the_run_ends_when_the_measured_requests_have_ended():
    trace = request_trace([Request(at, 1, 3) for at in (0, 10, 20, 30, 40)])
    simulator = ServingSimulator(fleet(1), trace, measured_s=(10, 30))
    while simulator.advance() is not None:
        simulator.apply(0)
    results = simulator.results()
    assert results.measured.tolist() == [False, True, True, False, False]
    assert results.finish_s[:3].tolist() == [3, 13, 23]
    assert simulator.now_s < 30
    assert results.token_gaps.count == 4


def test_misuse_is_refused():
    simulator = ServingSimulator(fleet(2, (0, 1, 9)), request_trace([Request(0, 1, 9), Request(3, 1, 1)]))
    with pytest.raises(HandrailError, match="without a decision"):
        simulator.apply(0)
    simulator.advance()
    with pytest.raises(HandrailError, match="before apply"):
        simulator.advance()
    for action in (-1, 2):
        with pytest.raises(HandrailError, match="no replica"):
            simulator.apply(action)
    simulator.apply(1)
    simulator.advance()
    with pytest.raises(HandrailError, match="down"):
        simulator.apply(0)
    with pytest.raises(HandrailError, match="request 1 has no output tokens"):
        ServingSimulator(fleet(1), request_trace([Request(0, 1, 1), Request(1, 1, 0)]))
    odd = replica_config(Engine(block_tokens=5, prefix_caching=True), ONE_SECOND)
    with pytest.raises(HandrailError, match="block_size"):
        ServingSimulator(FleetConfig(replicas=(odd,)), request_trace([Request(0, 9, 1, (1,))]))
