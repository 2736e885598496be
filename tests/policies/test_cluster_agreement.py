"""A heuristic that decides job by job makes the schedule of the standing scheduler of the same name."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_stand import batch, fallback, replay

from handrail.envs.cluster import ClusterConfig, ClusterSimulator
from handrail.policies import heuristics_of

NAMES = [name for name in heuristics_of("cluster") if name != "random"]
PROTOCOLS = {
    "easy": {"backfill": "easy"},
    "easy, overdue jobs": {"backfill": "easy", "wait_limit_s": 1800.0, "overdue_passes": 3},
    "committed": {"protocol": "rlscheduler"},
    "committed, reference backfill": {"protocol": "rlscheduler", "backfill": "reference"},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", NAMES)
def test_starts_are_those_of_the_standing_scheduler(name: str, protocol: str):
    trace = batch(250, seed=1, load=0.9)
    config = ClusterConfig(processors=64, discipline=name, window=250, **PROTOCOLS[protocol])
    standing = ClusterSimulator(config, trace)
    assert standing.advance() is None
    run = replay(config, trace, lambda layout: fallback(layout, config, name))
    assert len(run.decisions) >= 150  # reference backfill starts some jobs by itself
    np.testing.assert_array_equal(run.simulator.results().start_s, standing.results().start_s)
