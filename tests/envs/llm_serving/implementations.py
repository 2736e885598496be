"""One way to call every implementation of a replica, so that the same case runs against each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from naive_vllm import Engine, Request, run_naive

from handrail.envs.llm_serving import (
    FINISHED,
    REJECTED,
    DecisionPoint,
    FleetConfig,
    LatencyModel,
    ReplicaConfig,
    ServingResults,
    ServingSimulator,
)
from handrail.traces import RequestTrace

Route = Callable[[DecisionPoint], int]


def replica_config(engine: Engine, latency: LatencyModel) -> ReplicaConfig:
    """The simulator's config of the same replica."""
    return ReplicaConfig(
        preset="vllm-v0" if engine.preset == "vllm-v0" else "vllm-v1",
        latency=latency,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        kv_capacity_tokens=engine.total_blocks * engine.block_tokens,
        block_size=engine.block_tokens,
        max_model_len=engine.max_model_len,
        async_scheduling=engine.async_scheduling,
        prefix_caching=engine.prefix_caching,
        cudagraph_sizes=engine.cudagraph_sizes,
        step_overhead_s=engine.step_overhead_s,
    )


def request_trace(requests: Sequence[Request], prefix_block_tokens: int = 512) -> RequestTrace:
    """The requests as a trace."""
    ids = [block for request in requests for block in request.prefix_ids]
    offsets = np.cumsum([0, *(len(request.prefix_ids) for request in requests)])
    return RequestTrace(
        arrival_s=np.array([request.arrival_s for request in requests], dtype=np.float64),
        prompt_tokens=np.array([request.prompt_tokens for request in requests], dtype=np.int64),
        output_tokens=np.array([request.output_tokens for request in requests], dtype=np.int64),
        prefix_blocks=(offsets.astype(np.int64), np.array(ids, dtype=np.int64)) if ids else None,
        prefix_block_tokens=prefix_block_tokens if ids else 0,
    )


def round_robin(simulator: ServingSimulator) -> Route:
    """The next replica that is up, by the number of the decision."""

    def route(point: DecisionPoint) -> int:
        up = np.flatnonzero(point.action_mask)
        return int(up[point.number % len(up)])

    return route


def replay(
    config: FleetConfig,
    trace: RequestTrace,
    *,
    router: Callable[[ServingSimulator], Route] = round_robin,
    latency_s: Callable[[int], float] = lambda number: 0.0,
    stepwise: bool = False,
    check: Callable[[ServingSimulator], None] | None = None,
) -> ServingResults:
    """Runs a trace to its end; ``check`` is called after every event. Little's law holds on every run."""
    simulator = ServingSimulator(config, trace, stepwise=stepwise)
    route = router(simulator)
    if check is not None:
        step = simulator.clock.step

        def checked_step() -> None:
            step()
            check(simulator)

        simulator.clock.step = checked_step  # type: ignore[method-assign]
    while (point := simulator.advance()) is not None:
        simulator.apply(route(point), latency_s(point.number))
    results = simulator.results()
    for replica in simulator.replicas:
        assert replica.kv.free == replica.total_blocks - replica.cut_blocks
    assert_littles_law(simulator, results)
    return results


def assert_littles_law(simulator: ServingSimulator, results: ServingResults) -> None:
    """The time average of a counter kept in the event handlers against arrival rate times mean sojourn."""
    finished = results.status == FINISHED
    if simulator.now_s == 0.0 or not finished.any() or (results.status == REJECTED).any():
        return
    assert finished.all()
    mean_in_system = results.area_s / simulator.now_s
    rate = len(finished) / simulator.now_s
    mean_sojourn_s = float(np.mean(results.finish_s - results.arrival_s))
    np.testing.assert_allclose(mean_in_system, rate * mean_sojourn_s, rtol=1e-9)


@dataclass(frozen=True)
class Outcome:
    """What became of one request, as every implementation can report it."""

    rejected: bool
    first_token_s: float | None
    finish_s: float | None
    longest_gap_s: float | None
    preemptions: int


Runner = Callable[[Engine, LatencyModel, Sequence[Request]], list[Outcome]]


def naive(engine: Engine, latency: LatencyModel, requests: Sequence[Request]) -> list[Outcome]:
    outcomes = []
    for sequence in run_naive(engine, latency, requests).sequences:
        times = sequence.token_times_s
        outcomes.append(
            Outcome(
                rejected=sequence.rejected,
                first_token_s=times[0] if times else None,
                finish_s=sequence.finish_s,
                longest_gap_s=max((later - earlier for earlier, later in pairwise(times)), default=None),
                preemptions=sequence.preemptions,
            )
        )
    return outcomes


def fast(engine: Engine, latency: LatencyModel, requests: Sequence[Request]) -> list[Outcome]:
    return _outcomes(engine, latency, requests, stepwise=False)


def stepwise(engine: Engine, latency: LatencyModel, requests: Sequence[Request]) -> list[Outcome]:
    return _outcomes(engine, latency, requests, stepwise=True)


def _outcomes(engine: Engine, latency: LatencyModel, requests: Sequence[Request], *, stepwise: bool) -> list[Outcome]:
    config = FleetConfig(replicas=(replica_config(engine, latency),))
    results = replay(config, request_trace(requests), stepwise=stepwise)

    def number(column: np.ndarray, row: int) -> float | None:
        return None if np.isnan(column[row]) else float(column[row])

    return [
        Outcome(
            rejected=bool(results.status[row] == REJECTED),
            first_token_s=number(results.first_token_s, row),
            finish_s=number(results.finish_s, row),
            longest_gap_s=number(results.longest_gap_s, row),
            preemptions=int(results.preemptions[row]),
        )
        for row in range(len(requests))
    ]


IMPLEMENTATIONS: dict[str, Runner] = {"naive": naive, "fast": fast, "stepwise": stepwise}
