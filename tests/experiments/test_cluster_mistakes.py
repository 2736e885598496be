"""Traces and clusters that do not go together, values that are slips, and which bundled policy a cluster gets."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, MachineGroup
from handrail.experiments.cluster_allocation import allocate
from handrail.experiments.domains.cluster import DOMAIN
from handrail.experiments.domains.cluster_system import ClusterScenario, cluster_for
from handrail.policies.learning.against_fallback import WaitCosts
from handrail.traces import HandrailError, JobTrace, NodeTable, load_job_trace


def processors_trace(n: int = 20) -> JobTrace:
    steps = np.arange(n, dtype=np.float64)
    ones = np.ones(n, dtype=np.int64)
    return JobTrace(
        arrival_s=steps * 10.0,
        run_s=np.full(n, 30.0),
        estimate_s=np.full(n, 30.0),
        tasks=ones,
        gpu_milli=0 * ones,
        cpu_milli=3000 * ones,
        memory_mib=0 * ones,
        name="jobs.csv",
    )


def test_gpu_jobs_on_processors_and_the_reverse_are_refused():
    with pytest.raises(HandrailError, match="--machines"):
        cluster_for(ClusterScenario(processors=64), load_job_trace("bundled-cluster").head(50))
    with pytest.raises(HandrailError, match="--processors"):
        cluster_for(ClusterScenario(machines="8x4"), processors_trace())


@pytest.mark.parametrize("machines", ["8x0", "0x8", "4096x2", "8x99999999999999999999", "8"])
def test_impossible_machines_are_refused(machines):
    with pytest.raises(HandrailError, match="--machines"):
        ClusterScenario(machines=machines).check()


@pytest.mark.parametrize("arrivals", [0.0, -1.0, float("inf"), float("nan"), 1e9])
def test_arrivals_without_end_are_refused(arrivals):
    nodes = NodeTable(("a",), np.array([8]), np.array([64_000]), np.array([1024]), ("T4",))
    with pytest.raises(HandrailError, match="arrivals"):
        allocate(load_job_trace("bundled-cluster").head(10), nodes, "best-fit", arrivals)


def test_a_task_of_three_processors_takes_three_of_a_batch_cluster():
    simulator = ClusterSimulator(ClusterConfig(processors=6), processors_trace())
    simulator.advance()
    results = simulator.results()
    assert (results.status == 0).all()
    assert results.usage.busy_size.max() == 6.0


def test_the_bundled_policy_fits_the_kind_of_cluster():
    batch = DOMAIN.make_policy("bundled", ClusterConfig(processors=64))
    gpus = DOMAIN.make_policy("bundled", ClusterConfig(groups=(MachineGroup(machines=4),)))
    assert "Lublin" in batch.name
    assert "philly" in gpus.name


def test_jobs_that_are_turned_away_cost_a_training_nothing():
    costs = WaitCosts(np.array([0.0, 10.0]), np.array([50.0, 50.0]), tail_weight=1.0)
    costs.relate_to(np.array([5.0, np.nan]))
    assert costs.by(np.inf, np.array([5.0, np.nan])) == costs.by(100.0, np.array([5.0, np.nan])) > 0.0
