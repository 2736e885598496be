"""Random workloads that meet every rule of the scheduler often, from any source of small integers.

Hypothesis and a seeded generator share the definition: ``pick(low, high)`` is an integer between the two, inclusive.
All times are dyadic rationals, so that sums of them are exact, ties are ties in every implementation, and the naive
simulator must agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from naive_vllm import Engine, Request, run_naive

from handrail.envs.llm_serving.latency import LatencyModel, PiecewiseLinear

Pick = Callable[[int, int], int]

PREFIX_TOKENS = 16
"""Tokens of a prefix block in these workloads."""


@dataclass(frozen=True)
class Workload:
    """A replica and the requests that come to it."""

    engine: Engine
    latency: LatencyModel
    requests: tuple[Request, ...]

    @property
    def kv_knots(self) -> list[float]:
        return [x for x, _ in self.latency.kv.knots[1:]]


def draw_workload(pick: Pick, exact: bool = True) -> Workload:
    """One workload; with ``exact`` some arrivals are put on step boundaries, else times are arbitrary floats."""
    engine = draw_engine(pick)
    latency = draw_latency(pick)
    requests = draw_requests(pick, engine)
    if exact:
        requests = put_on_boundaries(pick, engine, latency, requests)
    else:
        # Factors without a short binary expansion, so that sums round and no arrival meets a boundary.
        latency = latency.scaled(1 / 3)
        requests = [replace(r, arrival_s=r.arrival_s * 0.3141592653589793) for r in requests]
    return Workload(engine, latency, tuple(requests))


def draw_engine(pick: Pick) -> Engine:
    version = pick(0, 3)
    block_tokens = (1, 2, 4, 16)[pick(0, 3)]
    budget = (8, 16, 24, 64, 200)[pick(0, 4)]
    tokens = pick(24, 320)
    if version == 3:
        # Whole sequences must fit a step, also when one is computed again.
        return Engine(
            preset="vllm-v0",
            block_tokens=block_tokens,
            total_blocks=max(tokens // block_tokens, 1),
            max_num_batched_tokens=320,
            max_model_len=320,
            max_num_seqs=pick(1, 8),
            cudagraph_sizes=((), (1, 2, 4), (1, 2, 4, 8))[pick(0, 2)],
            step_overhead_s=pick(0, 1) / 8,
        )
    return Engine(
        async_scheduling=version >= 1,
        prefix_caching=bool(pick(0, 3)),
        block_tokens=block_tokens,
        total_blocks=max(tokens // block_tokens, 1),
        max_num_batched_tokens=budget,
        max_num_seqs=pick(1, 8),
        cudagraph_sizes=((), (1, 2, 4), (1, 2, 4, 8))[pick(0, 2)],
        step_overhead_s=pick(0, 1) / 8,
    )


def draw_latency(pick: Pick) -> LatencyModel:
    def term(unit: float, widths: tuple[int, int]) -> PiecewiseLinear:
        x, y = 0, 0.0
        knots = [(0.0, 0.0)]
        for _ in range(pick(0, 3)):
            width = pick(*widths)
            y += unit * pick(0, 4) * width
            x += width
            knots.append((float(x), y))
        return PiecewiseLinear(tuple(knots), unit * pick(0, 4))

    return LatencyModel(
        base_s=pick(1, 8) / 8,
        tokens=term(2.0**-8, (1, 40)),
        attention=term(2.0**-12, (1, 400)),
        sequences=term(2.0**-6, (1, 4)),
        kv=term(2.0**-10, (5, 60)),
    )


def draw_requests(pick: Pick, engine: Engine) -> list[Request]:
    longest = (12, 30, 60, 200)[pick(0, 3)]
    gap = (0, 2, 20, 200)[pick(0, 3)]
    arrival = 0
    requests = []
    for _ in range(pick(1, 12)):
        arrival += pick(0, gap)
        prompt, output = pick(1, longest), pick(1, longest)
        ids: tuple[int, ...] = ()
        if engine.prefix_caching and pick(0, 3):
            ids = draw_prefix(pick, prompt)
        requests.append(Request(arrival / 8, prompt, output, ids))
    return requests


def draw_prefix(pick: Pick, prompt: int) -> tuple[int, ...]:
    """Ids of a prompt's prefix blocks: a path in a small tree; equal ids mean equal content up to that block's end.

    A short last block is content of its own, shared only with a block of the same length.
    """
    branch, ids = 0, []
    for level in range(-(-prompt // PREFIX_TOKENS)):
        branch = 2 * branch + (pick(0, 3) == 0) if level < 6 else branch
        length = min(PREFIX_TOKENS, prompt - level * PREFIX_TOKENS)
        ids.append((level * 64 + branch) * PREFIX_TOKENS + length - 1)
    keep = pick(0, len(ids))
    return tuple(ids) if pick(0, 1) else tuple(ids[:keep])


def put_on_boundaries(pick: Pick, engine: Engine, latency: LatencyModel, requests: list[Request]) -> list[Request]:
    """Moves some arrivals to the end of a step that the requests before them cause, and all others behind them."""
    placed: list[Request] = []
    shift = 0.0
    for request in requests:
        at = request.arrival_s + shift
        if placed and pick(0, 2) == 0:
            steps = run_naive(engine, latency, placed, PREFIX_TOKENS).steps
            ends = [step.end_s for step in steps if step.end_s >= placed[-1].arrival_s]
            if ends:
                at = ends[pick(0, len(ends) - 1)]
        at = max(at, placed[-1].arrival_s if placed else 0.0)
        shift = at - request.arrival_s
        placed.append(replace(request, arrival_s=at))
    return placed


def seeded(seed: int) -> Pick:
    """A source of integers from a seed."""
    rng = np.random.default_rng(seed)
    return lambda low, high: int(rng.integers(low, high + 1))
