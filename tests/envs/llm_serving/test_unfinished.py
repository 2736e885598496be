"""Results of a run that is not over: what has happened by now, and nothing more."""

from __future__ import annotations

import numpy as np

from handrail.envs.llm_serving import UNFINISHED, FleetConfig, LatencyModel, ReplicaConfig, ServingSimulator
from handrail.traces import RequestTrace


def test_a_request_in_flight_has_the_tokens_emitted_so_far():
    trace = RequestTrace(
        arrival_s=np.array([0.0, 3.5, 100.0]), prompt_tokens=np.array([8, 8, 8]), output_tokens=np.array([50, 2, 1])
    )
    replica = ReplicaConfig(latency=LatencyModel.constant(1.0), kv_capacity_tokens=1600, async_scheduling=False)
    for stepwise in (False, True):
        simulator = ServingSimulator(FleetConfig(replicas=(replica, replica)), trace, stepwise=stepwise)
        simulator.advance()
        simulator.apply(0)
        simulator.advance()  # the second request arrives at 3.5 s: tokens came at 1, 2 and 3 s
        results = simulator.results()
        assert results.tokens_generated.tolist() == [3, 0, 0]
        assert results.status.tolist() == [UNFINISHED] * 3
        assert results.first_token_s[0] == 1.0
        assert results.token_gaps.count == 2
        assert results.longest_gap_s[0] == 1.0
        assert np.isnan(results.finish_s).all()
