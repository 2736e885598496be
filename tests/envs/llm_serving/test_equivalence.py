"""Skipping over iterations changes nothing: the fast mode, the stepwise oracle and the naive simulator agree.

Fast and stepwise agree bit for bit on any input. Where all times are dyadic rationals, sums are exact and both agree
with the naive simulator bit for bit as well, ties included; elsewhere within 1e-9.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import event, given, settings
from implementations import replay, replica_config, request_trace
from llm_fleets import QUANTILES, assert_identical, draw_fleet, picks
from naive_vllm import NaiveReplica, Request, coverage, run_naive
from workloads import PREFIX_TOKENS, Pick, Workload, draw_workload, seeded

from handrail.envs.llm_serving import (
    FINISHED,
    REJECTED,
    FleetConfig,
    LatencyModel,
    PiecewiseLinear,
    ServingResults,
)


def run_both(config: FleetConfig, requests, **options) -> ServingResults:
    trace = request_trace(requests, PREFIX_TOKENS)
    results = replay(config, trace, **options)
    assert_identical(results, replay(config, trace, stepwise=True, **options))
    return results


def run_one(workload: Workload) -> ServingResults:
    return run_both(FleetConfig(replicas=(replica_config(workload.engine, workload.latency),)), workload.requests)


def assert_agrees(results: ServingResults, naive: NaiveReplica, rtol: float) -> None:
    """The columns and token gaps against the naive simulator's lists."""

    def same(actual: np.ndarray, expected: list[float | None], what: str) -> None:
        wanted = np.array([np.nan if value is None else value for value in expected], dtype=np.float64)
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=0.0, equal_nan=True, err_msg=what)

    sequences = naive.sequences
    gaps = [np.diff(s.token_times_s) for s in sequences]
    same(results.scheduled_s, [s.scheduled_s for s in sequences], "scheduled_s")
    same(results.first_token_s, [s.token_times_s[0] if s.token_times_s else None for s in sequences], "first_token_s")
    same(results.finish_s, [s.finish_s for s in sequences], "finish_s")
    assert results.tokens_generated.tolist() == [len(s.token_times_s) for s in sequences]
    assert results.preemptions.tolist() == [s.preemptions for s in sequences]
    assert (results.status == REJECTED).tolist() == [s.rejected for s in sequences]
    # A gap is a difference of two times here and a length there: absolute errors are those of the times.
    last_s = max((s.finish_s or 0.0 for s in sequences), default=0.0)
    near = {"rtol": max(rtol, 1e-12), "atol": rtol * last_s, "equal_nan": True}
    np.testing.assert_allclose(results.longest_gap_s, [g.max() if len(g) else np.nan for g in gaps], **near)
    np.testing.assert_allclose(results.gap_p99_s, [np.quantile(g, 0.99) if len(g) else np.nan for g in gaps], **near)
    pooled = np.concatenate([*gaps, np.empty(0)])
    assert results.token_gaps.count == len(pooled)
    if len(pooled):
        np.testing.assert_allclose(results.token_gaps.quantile(QUANTILES), np.quantile(pooled, QUANTILES), **near)
        np.testing.assert_allclose(results.token_gaps.mean(), pooled.mean(), **near)
        np.testing.assert_allclose(results.token_gaps.max(), pooled.max(), **near)


def naive_of(workload: Workload) -> NaiveReplica:
    return run_naive(workload.engine, workload.latency, workload.requests, PREFIX_TOKENS)


@settings(max_examples=250, deadline=None)
@given(pick=picks())
def test_all_three_agree_bit_for_bit_on_dyadic_times(pick):
    workload = draw_workload(pick)
    naive = naive_of(workload)
    for what, met in asdict(coverage(naive, workload.kv_knots)).items():
        event(f"{what}: {met}")
    event(f"{workload.engine.preset}, async {workload.engine.async_scheduling}")
    assert_agrees(run_one(workload), naive, rtol=0.0)


@settings(max_examples=150, deadline=None)
@given(pick=picks())
def test_all_three_agree_on_times_that_round(pick):
    workload = draw_workload(pick, exact=False)
    assert_agrees(run_one(workload), naive_of(workload), rtol=1e-9)


def test_the_workloads_meet_every_event_often():
    n = 600
    met: Counter[str] = Counter()
    for seed in range(n):
        workload = draw_workload(seeded(seed))
        naive = naive_of(workload)
        assert_agrees(run_one(workload), naive, rtol=0.0)
        met.update(what for what, yes in asdict(coverage(naive, workload.kv_knots)).items() if yes)
    assert set(met) == {"preemption", "chunk_end", "interruption", "prefix_hit", "breakpoint"}
    assert min(met.values()) >= 0.05 * n, met


def test_a_short_last_block_may_share_the_id_of_a_longer_one():
    """As in a session, where a turn goes on in the block in which the one before ended."""
    hits = 0
    for seed in range(250):
        workload = draw_workload(seeded(seed))
        if workload.engine.prefix_caching:
            # Leaves out the length of a short last block, which makes its id its own.
            requests = (
                replace(r, prefix_ids=tuple(i // PREFIX_TOKENS for i in r.prefix_ids)) for r in workload.requests
            )
            workload = replace(workload, requests=tuple(requests))
            naive = naive_of(workload)
            assert_agrees(run_one(workload), naive, rtol=0.0)
            hits += sum(sequence.hit_blocks > 0 for sequence in naive.sequences)
    assert hits > 100


def test_the_step_records_unroll_to_the_steps():
    """Start, decoding sequences and context of every step; occupancy over time is read from these."""
    steps = 0
    for seed in range(150):
        workload = draw_workload(seeded(50_000 + seed))
        if workload.engine.preset == "vllm-v0":
            continue  # its records leave out steps that are no token gaps
        unrolled = []
        for start, first, growth, count, _, n, kv_tokens in run_one(workload).records[0].tolist():
            for i in range(int(count)):
                unrolled.append((start + (first * i + growth * (i * (i - 1) / 2)), n, kv_tokens + n * i))
        expected = [
            (step.start_s, len(step.decodes), sum(computed for _, computed in step.decodes))
            for step in naive_of(workload).steps
        ]
        assert unrolled == expected
        steps += len(expected)
    assert steps > 5_000


@pytest.mark.slow
def test_many_more_seeds():
    for seed in range(1_000, 11_000):
        workload = draw_workload(seeded(seed), exact=seed % 3 > 0)
        assert_agrees(run_one(workload), naive_of(workload), rtol=0.0 if seed % 3 else 1e-9)


def check_fleet(pick: Pick) -> ServingResults:
    config, requests, latencies = draw_fleet(pick)
    results = run_both(config, requests, latency_s=lambda number: latencies.get(number, 0.0))
    assert ((results.status == FINISHED) | (results.status == REJECTED)).all()
    finished = results.status == FINISHED
    np.testing.assert_array_equal(results.tokens_generated[finished], results.output_tokens[finished])
    assert results.token_gaps.count >= int((results.output_tokens[finished] - 1).sum())
    assert (results.finish_s[finished] >= results.first_token_s[finished]).all()
    assert (results.first_token_s[finished] > results.scheduled_s[finished]).all()
    assert (results.scheduled_s[finished] >= results.arrival_s[finished]).all()
    return results


@settings(max_examples=150, deadline=None)
@given(pick=picks())
def test_fleets_with_outages_agree(pick):
    check_fleet(pick)


def test_seeded_fleets_with_outages_agree():
    for seed in range(200):
        check_fleet(seeded(seed))


def test_long_runs_of_decoding_agree():
    """Thousands of steps a run, arrivals that interrupt them, knots on the way, times far from zero."""
    kv = PiecewiseLinear(((0.0, 0.0), (700.0, 1e-4), (5_000.0, 3e-3), (20_000.0, 3.1e-3)), 1.3e-6)
    latency = LatencyModel(0.0061, PiecewiseLinear.linear(2.1e-5), kv=kv, sequences=PiecewiseLinear.linear(1e-5))
    pick = seeded(5)
    for asynchronous in (False, True):
        engine = draw_workload(seeded(1)).engine
        engine = replace(
            engine,
            preset="vllm-v1",
            async_scheduling=asynchronous,
            prefix_caching=False,
            block_tokens=16,
            total_blocks=2_500,
            max_num_batched_tokens=512,
            max_num_seqs=16,
            cudagraph_sizes=(1, 2, 4, 8, 16),
            step_overhead_s=0.0007,
        )
        requests = [Request(90_000 + 0.37 * i + pick(0, 9) / 77, pick(1, 900), pick(1, 6_000)) for i in range(60)]
        workload = Workload(engine, latency, tuple(sorted(requests, key=lambda r: r.arrival_s)))
        naive = naive_of(workload)
        assert sum(s.preemptions for s in naive.sequences) > 3
        assert_agrees(run_one(workload), naive, rtol=1e-9)
