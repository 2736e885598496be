"""The scheduling policies that come with handrail: they load, say what made them, and choose legal jobs."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, MachineGroup, SchedulerObserver, layout_for
from handrail.policies import load_policy
from handrail.policies.factory import bundled_folder
from handrail.traces import HandrailError, load_job_trace

FOLDERS = ("cluster", "cluster_batch")


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("window", [8, 64])
def test_it_loads_for_any_window_and_schedules_to_the_end(name, window):
    layout = layout_for(window)
    policy = load_policy(bundled_folder("cluster").parent / name, layout, domain="cluster")
    trace = load_job_trace("bundled-cluster").head(400)
    config = ClusterConfig(groups=(MachineGroup(machines=12),), discipline="sjf", knowledge="predicted", window=window)
    simulator = ClusterSimulator(config, trace, decide="job")
    observer = SchedulerObserver(simulator)
    point = simulator.advance()
    waits = decisions = 0
    while point is not None:
        action, _ = policy.predict(observer(point))
        assert point.action_mask[action]
        waits += action == window
        decisions += 1
        simulator.apply(action)
        point = simulator.advance()
    results = simulator.results()
    assert np.isfinite(results.finish_s).all()
    assert decisions - waits == len(trace)


@pytest.mark.parametrize("name", FOLDERS)
def test_its_card_says_what_made_it(name):
    card = load_policy(bundled_folder("cluster").parent / name, layout_for(32), domain="cluster").card
    assert card.domain == "cluster"
    assert card.training.algorithm == "maskable-ppo"
    assert card.training.command


def test_it_is_no_router():
    with pytest.raises(HandrailError, match="cluster"):
        load_policy(bundled_folder("cluster"), layout_for(32), domain="llm")
