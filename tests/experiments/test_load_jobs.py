"""The load that jobs offer to a cluster, and how it is changed."""

from __future__ import annotations

import numpy as np
import pytest
from job_fakes import jobs

from handrail.envs.cluster import ClusterConfig, MachineGroup
from handrail.experiments.load_jobs import (
    N_WINDOWS,
    OVERLOAD,
    STRETCHED_LOAD,
    change_job_load,
    change_job_rate,
    describe_job_traffic,
    offered_load,
    stretch_overload,
)
from handrail.traces import HandrailError

PROCESSORS = ClusterConfig(processors=32)
SERVERS = ClusterConfig(groups=(MachineGroup(machines=4, gpus=8),))


def test_offered_load_is_work_over_size_and_time():
    trace = jobs(3).replace(arrival_s=[0.0, 50.0, 100.0], run_s=[10.0, 20.0, 30.0], tasks=[1, 2, 4])
    assert offered_load(trace, PROCESSORS) == pytest.approx((10 + 40 + 120) / (32 * 100.0))


def test_where_machines_have_gpus_only_gpus_are_work():
    trace = jobs(3, gpus=True).replace(arrival_s=[0.0, 50.0, 100.0], run_s=[10.0, 20.0, 30.0], gpu_milli=[500, 8000, 0])
    assert offered_load(trace, SERVERS) == pytest.approx((5 + 160 + 0) / (32 * 100.0))


def test_jobs_that_never_end_or_arrive_at_once_offer_no_load():
    trace = jobs(4)
    assert offered_load(trace.replace(run_s=[1.0, 2.0, np.inf, 1.0]), PROCESSORS) is None
    assert offered_load(trace.replace(arrival_s=np.zeros(4)), PROCESSORS) is None
    assert describe_job_traffic(trace.replace(arrival_s=np.zeros(4)), PROCESSORS).window_loads == ()


def test_windows_add_up_to_the_whole():
    trace = jobs(500)
    traffic = describe_job_traffic(trace, PROCESSORS)
    assert len(traffic.window_loads) == N_WINDOWS
    assert np.mean(traffic.window_loads) == pytest.approx(traffic.offered_load)


@pytest.mark.parametrize("method", ["thin", "compress", None])
def test_a_load_is_reached(method):
    trace = jobs(2000)
    changed, change = change_job_load(trace, 0.5, PROCESSORS, method)
    assert change.after.offered_load == pytest.approx(0.5, rel=0.15)
    assert change.utilisation == offered_load(changed, PROCESSORS)
    assert change.note() is None
    assert "offered load" in change.sentence()
    assert (changed.run_s.sum() == trace.run_s.sum()) == (change.method == "compress")


def test_jobs_are_superposed_where_there_are_days_enough():
    trace = jobs(3000, gap_s=120.0)
    assert change_job_rate(trace, 3.0, PROCESSORS)[1].method == "superpose"
    assert change_job_rate(trace, 6.0, PROCESSORS)[1].method == "compress"


def test_what_offers_too_much_is_stretched_and_says_so():
    trace = jobs(400, gap_s=5.0)
    assert offered_load(trace, PROCESSORS) > OVERLOAD
    changed, change = stretch_overload(trace, PROCESSORS)
    assert offered_load(changed, PROCESSORS) == pytest.approx(STRETCHED_LOAD)
    assert change.stretched
    assert "so its time is stretched to a load of 0.8" in change.note()
    assert "by stretching time" in change.sentence()
    assert len(changed) == len(trace)


def test_what_does_not_stays_as_it_is():
    trace = jobs(400, gap_s=60.0)
    changed, change = stretch_overload(trace, PROCESSORS)
    assert changed is trace
    assert change.method == "as-is"
    assert change.note() is None


def test_an_overload_that_was_kept_is_said():
    _, change = change_job_rate(jobs(400, gap_s=5.0), 1.0, PROCESSORS)
    assert "queues only grow" in change.sentence()
    assert "queues grow" in change.note()


def test_what_has_no_load_cannot_be_brought_to_one():
    with pytest.raises(HandrailError, match="offers no finite load"):
        change_job_load(jobs(5).replace(arrival_s=np.zeros(5)), 0.8, PROCESSORS)
    with pytest.raises(HandrailError, match="--load must be a positive share"):
        change_job_load(jobs(5), 0.0, PROCESSORS)
    with pytest.raises(HandrailError, match="no job is left"):
        change_job_rate(jobs(5), 1e-6, PROCESSORS, "thin")
