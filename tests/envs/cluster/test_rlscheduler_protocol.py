"""RLScheduler's protocol on Lublin-1: the ten published figures to the last printed digit, and the tails that go with
them (Zhang et al., SC'20; DIR-LAB/deep-batch-scheduler)."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.envs.cluster import FINISHED, ClusterConfig, ClusterSimulator
from handrail.envs.cluster.metrics import bounded_slowdown, wait_s
from handrail.traces import JobTrace, load_job_trace

STARTS = (1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085)
LENGTH = 1024

MEANS = {
    ("none", "fcfs"): "7273.77",
    ("none", "sjf"): "277.35",
    ("none", "f1"): "258.37",
    ("none", "wfp3"): "337.34",
    ("none", "unicep"): "381.71",
    ("reference", "fcfs"): "235.82",
    ("reference", "sjf"): "73.31",
    ("reference", "f1"): "75.07",
    ("reference", "wfp3"): "126.50",
    ("reference", "unicep"): "103.10",
}
"""Mean bounded slowdown, over the jobs of a sequence and then over sequences. WFP3 and UNICEP with the true wait: the
published rows use a negative one."""

TAILS = {
    ("none", "fcfs"): ((34684, 53182), (262391, 547283, 600770)),
    ("none", "sjf"): ((1380, 3029), (9151, 268551, 649156)),
    ("none", "f1"): ((1256, 3430), (5553, 59255, 369494)),
    ("reference", "fcfs"): ((1401, 3375), (6778, 133695, 226429)),
    ("reference", "sjf"): ((434, 1209), (1446, 230611, 615408)),
    ("reference", "f1"): ((423, 1469), (349, 38814, 318159)),
}
"""p95 and p99 of the bounded slowdown; p50, p95 and p99 of the wait in seconds; pooled over sequences."""


@pytest.fixture(scope="module")
def lublin_1(shared_data) -> JobTrace:
    path = shared_data / "traces/cluster/lublin_1_256procs.swf"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not in {path.parent}")
    return load_job_trace(path)


@pytest.mark.parametrize(("backfill", "discipline"), MEANS)
def test_published_figures_to_the_last_digit(lublin_1, backfill, discipline):
    config = ClusterConfig(processors=256, discipline=discipline, backfill=backfill, protocol="rlscheduler")
    slowdowns, waits_s = [], []
    for start in STARTS:
        simulator = ClusterSimulator(config, lublin_1.rows(start, LENGTH))
        assert simulator.advance() is None
        results = simulator.results()
        assert (results.status == FINISHED).all()
        slowdowns.append(bounded_slowdown(results))
        waits_s.append(wait_s(results))
    assert f"{np.mean([values.mean() for values in slowdowns]):.2f}" == MEANS[backfill, discipline]
    if (backfill, discipline) in TAILS:
        of_slowdown, of_wait = TAILS[backfill, discipline]
        assert np.quantile(np.concatenate(slowdowns), [0.95, 0.99]).round().tolist() == list(of_slowdown)
        assert np.quantile(np.concatenate(waits_s), [0.5, 0.95, 0.99]).round().tolist() == list(of_wait)
