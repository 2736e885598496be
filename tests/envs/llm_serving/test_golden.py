"""A stored run under KV pressure, to the last bit; `golden.py` says how it is made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden import LATENCY, STORED, as_json, golden_run, golden_trace
from naive_vllm import Engine, Request, run_naive

from handrail.envs.llm_serving.config import CUDAGRAPH_SIZES


@pytest.mark.parametrize("stepwise", [False, True])
def test_the_golden_run_is_unchanged(stepwise):
    results = golden_run(stepwise=stepwise)
    assert (results.preemptions > 0).mean() >= 0.05
    assert as_json(results) == json.loads(STORED.read_text(encoding="utf-8"))


def test_the_golden_run_follows_the_rules():
    results, trace = golden_run(), golden_trace()
    offsets, ids = trace.prefix_blocks
    for replica, asynchronous in enumerate((True, False)):
        rows = range(replica, len(trace), 2)
        requests = [
            Request(
                float(trace.arrival_s[row]),
                int(trace.prompt_tokens[row]),
                int(trace.output_tokens[row]),
                tuple(ids[offsets[row] : offsets[row + 1]].tolist()),
            )
            for row in rows
        ]
        engine = Engine(
            async_scheduling=asynchronous,
            prefix_caching=True,
            total_blocks=400,
            max_num_batched_tokens=1024,
            max_num_seqs=32,
            cudagraph_sizes=CUDAGRAPH_SIZES,
            step_overhead_s=0.0005,
        )
        naive = run_naive(engine, LATENCY, requests)
        assert sum(sequence.hit_blocks for sequence in naive.sequences) > 500
        np.testing.assert_allclose(results.finish_s[rows], [s.finish_s for s in naive.sequences], rtol=1e-9)
        assert results.preemptions[rows].tolist() == [s.preemptions for s in naive.sequences]
