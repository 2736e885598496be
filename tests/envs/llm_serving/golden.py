"""The golden run: two replicas with so little KV memory that requests are preempted; its timestamps are stored.

A change of `golden_preemption.json` is a change of the simulator's semantics and belongs in the changelog. It is
written anew by

    python tests/envs/llm_serving/golden.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from implementations import replay

from handrail.envs.llm_serving import FleetConfig, LatencyModel, PiecewiseLinear, ReplicaConfig, ServingResults
from handrail.traces import RequestTrace

STORED = Path(__file__).with_name("golden_preemption.json")

LATENCY = LatencyModel(
    base_s=0.006,
    tokens=PiecewiseLinear(((0.0, 0.0), (512.0, 0.004)), 2.0e-5),
    attention=PiecewiseLinear.linear(1.5e-9),
    sequences=PiecewiseLinear(((0.0, 0.0), (16.0, 0.0005)), 2.0e-5),
    kv=PiecewiseLinear(((0.0, 0.0), (4_000.0, 0.0002)), 9.0e-8),
)


def golden_trace(n: int = 200) -> RequestTrace:
    """Arrivals, lengths and shared prefixes from a seed."""
    rng = np.random.default_rng(2024)
    arrival_s = np.cumsum(rng.integers(0, 90, n)) / 1024
    blocks = rng.integers(0, 3, n)
    prompt = 512 * blocks + rng.integers(16, 500, n)
    tree = rng.integers(0, 6, n)
    ids = np.concatenate([tree[i] * 10 + np.arange(count) for i, count in enumerate(blocks)])
    return RequestTrace(
        arrival_s=arrival_s,
        prompt_tokens=prompt,
        output_tokens=rng.integers(1, 400, n),
        prefix_blocks=(np.concatenate([[0], np.cumsum(blocks)]), ids),
        prefix_block_tokens=512,
    )


def golden_run(*, stepwise: bool = False) -> ServingResults:
    """Round robin over one asynchronous and one synchronous replica, both with prefix caching."""
    replicas = tuple(
        ReplicaConfig(
            latency=LATENCY,
            max_num_seqs=32,
            max_num_batched_tokens=1024,
            kv_capacity_tokens=6_400,
            async_scheduling=asynchronous,
            step_overhead_s=0.0005,
        )
        for asynchronous in (True, False)
    )
    return replay(FleetConfig(replicas=replicas), golden_trace(), stepwise=stepwise)


def as_json(results: ServingResults) -> dict[str, Any]:
    """The columns that are stored; floats survive the way through JSON exactly."""
    times = {name: getattr(results, name).tolist() for name in ("scheduled_s", "first_token_s", "finish_s")}
    gaps = [None if np.isnan(gap) else gap for gap in results.longest_gap_s.tolist()]
    return {**times, "longest_gap_s": gaps, "preemptions": results.preemptions.tolist()}


if __name__ == "__main__":
    STORED.write_text(json.dumps(as_json(golden_run())).replace("], ", "],\n") + "\n", encoding="utf-8")
