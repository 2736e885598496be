"""Metrics of cluster scheduling against hand-made columns."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.envs.cluster import FAILED, FINISHED, KILLED, REJECTED, UNFINISHED, metrics
from handrail.envs.cluster.metrics import Objective

NAN = math.nan
INF = math.inf


def columns(**changes):
    """Six jobs on 10 GPUs: one at once, one preempted, and one lost in each way."""
    values = {
        "arrival_s": np.array([0.0, 10.0, 20.0, 30.0, 40.0, 100.0]),
        "run_s": np.array([100.0, 40.0, 5.0, INF, 50.0, 60.0]),
        "size": np.array([1.0, 2.0, 16.0, 4.0, 8.0, 0.5]),
        "tenant": np.array([0, 0, 1, 1, 1, 0]),
        "start_s": np.array([0.0, 30.0, NAN, 50.0, 60.0, 110.0]),
        "finish_s": np.array([100.0, 130.0, NAN, NAN, 90.0, 140.0]),
        "service_s": np.array([100.0, 50.0, 0.0, 150.0, 30.0, 30.0]),
        "wasted_s": np.array([0.0, 10.0, 0.0, 0.0, 20.0, 0.0]),
        "attempts": np.array([1, 2, 0, 1, 3, 1]),
        "preemptions": np.array([0, 1, 0, 0, 0, 0]),
        "deadline_s": np.array([100.0, 129.0, 1000.0, 1000.0, NAN, NAN]),
        "status": np.array([FINISHED, FINISHED, REJECTED, UNFINISHED, FAILED, KILLED], dtype=np.int8),
        "measured": np.ones(6, dtype=bool),
        "cluster_size": 10.0,
        "size_unit": "gpus",
        "tenant_names": ("alice", "bob"),
        "usage": SimpleNamespace(
            times_s=np.array([0.0, 30.0, 50.0, 120.0]),
            busy_size=np.array([1.0, 3.0, 7.0, 4.0]),
            down_size=np.array([0.0, 0.0, 2.0, 0.0]),
            sampled_s=np.array([0.0, 50.0, 100.0, 110.0]),
            fragmentation=np.array([0.0, 0.3, 0.6, 1.0]),
        ),
    }
    return SimpleNamespace(**{**values, **changes})


def test_latencies_of_each_job_follow_from_its_timestamps():
    results = columns()
    assert metrics.jct_s(results).tolist() == [100.0, 120.0, INF, INF, INF, INF]
    assert metrics.wait_s(results).tolist() == [0.0, 70.0, INF, INF, INF, INF]
    assert metrics.bounded_slowdown(results).tolist() == [1.0, 3.0, INF, INF, INF, INF]


def test_short_jobs_count_as_ten_seconds_and_no_slowdown_is_below_one():
    results = columns(
        run_s=np.array([5.0, 5.0, 5.0, 100.0, 0.1, 60.0]),
        finish_s=np.array([5.0, 60.0, 25.0, 80.0, 41.0, 160.0]),
        status=np.zeros(6, dtype=np.int8),
    )
    assert metrics.bounded_slowdown(results).tolist() == [1.0, 5.0, 1.0, 1.0, 1.0, 1.0]


def test_a_job_attains_only_within_both_limits():
    results = columns()
    for slowdown, wait_s, expected in ((3.0, 70.0, 2), (2.9, 70.0, 1), (3.0, 69.0, 1), (1.0, 0.0, 1)):
        objective = Objective(slo_slowdown=slowdown, slo_wait_s=wait_s)
        assert np.count_nonzero(metrics.attained(results, objective)) == expected


def test_use_is_counted_between_the_first_and_last_measured_arrival():
    results = columns()
    busy = 30 * 1 + 20 * 3 + 50 * 7
    assert metrics.utilisation(results) == pytest.approx((busy / (1000 - 50 * 2), busy / 1000))
    assert metrics.mean_fragmentation(results) == pytest.approx(0.3)
    early = columns(measured=np.array([True, True, True, False, False, False]))
    assert metrics.utilisation(early) == pytest.approx((20 / 200, 20 / 200))
    assert metrics.mean_fragmentation(early) == 0.0
    alone = columns(measured=np.array([False, True, False, False, False, False]))
    assert metrics.utilisation(alone) == (None, None)
    assert metrics.mean_fragmentation(alone) is None


def test_all_metrics_of_the_six_jobs():
    found = metrics.compute_metrics(columns(), Objective(slo_slowdown=2.0))
    assert (found["jobs"], found["measured_jobs"], found["measured_span_s"]) == (6, 6, 140.0)
    assert found["lost"] == {"rejected": 1, "unfinished": 1, "failed": 1, "killed": 1}
    assert found["slo_attainment"] == 1 / 6
    assert found["preemptions"] == 1
    assert (found["deadlines"], found["deadline_misses"]) == (4, 3)
    in_vain = 2 * 10 + 8 * 30 + 0.5 * 30
    assert found["wasted_share"] == pytest.approx(in_vain / (100 + 2 * 50 + 4 * 150 + 8 * 30 + 0.5 * 30))
    assert found["bounded_slowdown"]["p50"] is None
    assert found["fairness"]["tenants"] == {}
    assert {name: row["jobs"] for name, row in found["by_size"].items()} == {"1": 2, "2-4": 2, "5-8": 1, "9+": 1}
    assert found["by_size"]["2-4"]["mean_slowdown"] is None
    json.dumps(found, allow_nan=False)


def test_only_measured_jobs_count():
    found = metrics.compute_metrics(columns(measured=np.array([True, True, False, False, False, False])))
    assert sum(found["lost"].values()) == 0
    assert found["measured_span_s"] == 130.0
    assert found["wait_s"]["mean"] == 35.0
    assert found["jct_s"]["max"] == 120.0
    assert found["wasted_share"] == pytest.approx(20 / 200)
    assert found["slo_attainment"] == 1.0
    assert found["by_size"]["2-4"] == {
        "jobs": 1, "mean_slowdown": 3.0, "p95_slowdown": 3.0, "p99_slowdown": 3.0, "p99_wait_s": 70.0,
    }  # fmt: skip
    assert found["by_size"]["9+"]["jobs"] == 0
    assert found["by_size"]["9+"]["mean_slowdown"] is None


def test_processors_have_classes_of_their_own():
    sizes = np.array([1.0, 2.0, 8.0, 9.0, 64.0, 65.0])
    classes = metrics.size_classes(columns(size=sizes, size_unit="processors"))
    assert {name: rows.tolist().count(True) for name, rows in classes.items()} == {
        "1": 1, "2-8": 2, "9-64": 2, "65+": 1,
    }  # fmt: skip


def tenants(slowdowns):
    """Finished jobs of run time 100 s with the given slowdowns, by tenant."""
    tenant = np.repeat(np.arange(len(slowdowns)), [len(values) for values in slowdowns.values()])
    every = np.concatenate(list(slowdowns.values()))
    n = len(every)
    return columns(
        arrival_s=np.zeros(n),
        run_s=np.full(n, 100.0),
        finish_s=100.0 * every,
        tenant=tenant,
        status=np.where(np.isfinite(every), FINISHED, FAILED),
        measured=np.ones(n, dtype=bool),
        tenant_names=tuple(slowdowns),
    )


def test_fairness_compares_tenants_with_enough_jobs():
    few = metrics.MIN_TENANT_JOBS - 1
    found = metrics.fairness(
        tenants({"a": np.full(20, 2.0), "b": np.full(30, 3.0), "c": np.full(20, 12.0), "d": np.full(few, 99.0)})
    )
    assert found["p95_slowdown_spread"] == 10.0
    assert found["p95_slowdown_ratio"] == 4.0
    assert found["tenants"] == {
        "a": {"jobs": 20, "p95_slowdown": 2.0},
        "b": {"jobs": 30, "p95_slowdown": 3.0},
        "c": {"jobs": 20, "p95_slowdown": 12.0},
    }


def test_fairness_is_null_for_one_tenant_and_where_jobs_are_lost():
    one = metrics.fairness(tenants({"a": np.full(25, 2.0)}))
    assert (one["p95_slowdown_spread"], one["p95_slowdown_ratio"]) == (None, None)
    lossy = metrics.fairness(tenants({"a": np.full(25, 2.0), "b": np.array([1.0] * 20 + [INF] * 5)}))
    assert lossy["p95_slowdown_spread"] is None
    assert lossy["tenants"]["b"]["p95_slowdown"] is None


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="no job is measured"):
        metrics.compute_metrics(columns(measured=np.zeros(6, dtype=bool)))


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=20, unique_by=lambda pair: pair[0]),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_the_integral_of_use_is_the_sum_over_seconds(changes, one_s, other_s):
    changes = sorted(changes)
    start_s, end_s = min(one_s, other_s), max(one_s, other_s)
    expected = sum(
        next((value for at_s, value in reversed(changes) if at_s <= second), 0) for second in range(start_s, end_s)
    )
    times_s, values = (np.array(column, dtype=float) for column in zip(*changes, strict=True))
    assert metrics._integral(times_s, values, float(start_s), float(end_s)) == expected
