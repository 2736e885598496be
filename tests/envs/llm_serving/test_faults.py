"""Slowdowns and KV cuts by hand-computed cases; that the skipping meets them exactly is shown in test_equivalence."""

from __future__ import annotations

import numpy as np
import pytest
from implementations import replay
from pydantic import ValidationError

from handrail.envs.llm_serving import FleetConfig, KVCut, LatencyModel, Outage, ReplicaConfig, Slowdown
from handrail.traces import RequestTrace

REPLICA = ReplicaConfig(
    latency=LatencyModel.constant(1.0),
    kv_capacity_tokens=160,
    block_size=16,
    async_scheduling=False,
    prefix_caching=False,
)


def requests(*rows: tuple[float, int, int]) -> RequestTrace:
    arrival_s, prompt, output = zip(*rows, strict=True)
    return RequestTrace(arrival_s=np.array(arrival_s), prompt_tokens=np.array(prompt), output_tokens=np.array(output))


@pytest.mark.parametrize("stepwise", [False, True])
def test_steps_that_start_in_the_window_are_slow(stepwise):
    slow = Slowdown(replica=0, start_s=2.5, end_s=6.0, factor=3.0)
    results = replay(FleetConfig(replicas=(REPLICA,), slowdowns=(slow,)), requests((0.0, 8, 6)), stepwise=stepwise)
    # Steps end at 1, 2, 3 (under way at 2.5 s), 6 (starts at 3 s), 7 (starts when the window has ended), 8.
    assert results.first_token_s[0] == 1.0
    assert results.longest_gap_s[0] == 3.0
    assert results.finish_s[0] == 8.0


def test_overlapping_slowdowns_multiply():
    slow = tuple(Slowdown(replica=0, start_s=0.0, end_s=9.0, factor=factor) for factor in (2.0, 1.5))
    assert replay(FleetConfig(replicas=(REPLICA,), slowdowns=slow), requests((0.0, 8, 1))).finish_s[0] == 3.0


def test_a_cold_start_is_a_slowdown_after_coming_up():
    fleet = FleetConfig(
        replicas=(REPLICA,),
        outages=(Outage(replica=0, down_s=1.0, up_s=4.0),),
        slowdowns=(Slowdown(replica=0, start_s=4.0, end_s=5.0, factor=5.0),),
    )
    assert replay(fleet, requests((2.0, 8, 2))).finish_s[0] == 10.0  # 5 s for the step that starts cold, then 1 s


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_cut_preempts_the_last_and_loses_nobody(stepwise):
    cut = KVCut(replica=0, start_s=2.5, end_s=20.0, share=0.5)
    trace = requests((0.0, 60, 8), (0.0, 60, 8))  # five blocks each in the end, ten there are
    results = replay(FleetConfig(replicas=(REPLICA,), kv_cuts=(cut,)), trace, stepwise=stepwise)
    assert results.preemptions.tolist() == [0, 1]
    # The second gives way at 3 s, is computed anew when the first has ended at 8 s, and has five tokens to go.
    assert results.finish_s.tolist() == [8.0, 13.0]


@pytest.mark.parametrize("stepwise", [False, True])
def test_what_does_not_fit_a_cut_waits_for_its_end(stepwise):
    cut = KVCut(replica=0, start_s=0.0, end_s=20.0, share=0.2)
    trace = requests((1.0, 60, 1), (2.0, 500, 1))
    results = replay(FleetConfig(replicas=(REPLICA,), kv_cuts=(cut,)), trace, stepwise=stepwise)
    assert results.finish_s[0] == 21.0
    assert results.status.tolist() == [0, 1]  # the second never fits: it is rejected, cut or no cut


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"slowdowns": [{"replica": 3, "start_s": 0, "end_s": 1, "factor": 2}]},
            "slowdown of replica 3, but",
        ),
        ({"kv_cuts": [{"replica": 3, "start_s": 0, "end_s": 1, "share": 0.5}]}, "KV cut of replica 3, but"),
        ({"slowdowns": [{"replica": 0, "start_s": 2, "end_s": 1, "factor": 2}]}, "must be after start_s"),
        ({"kv_cuts": [{"replica": 0, "start_s": 2, "end_s": 2, "share": 0.5}]}, "must be after start_s"),
        ({"slowdowns": [{"replica": 0, "start_s": 0, "end_s": 1, "factor": 0}]}, "greater than 0"),
        ({"kv_cuts": [{"replica": 0, "start_s": 0, "end_s": 1, "share": 1.5}]}, "less than or equal to 1"),
    ],
)
def test_mistakes_are_named(fields, message):
    with pytest.raises(ValidationError, match=message):
        FleetConfig(replicas=(REPLICA,), **fields)
