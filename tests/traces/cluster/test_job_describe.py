"""Statistics of job traces against hand-made examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from job_samples import small_jobs

from handrail.traces import JobTrace, load_job_trace
from handrail.traces.cluster.describe import compare_traces, describe, size_class


def jobs(**changes: object) -> JobTrace:
    """Ten jobs, one every 100 s, of one processor and 10 s each, unless changed."""
    values: dict[str, object] = {
        "arrival_s": np.arange(10) * 100.0,
        "run_s": np.full(10, 10.0),
        "estimate_s": np.full(10, np.nan),
        "tasks": np.ones(10, int),
        "gpu_milli": np.zeros(10, int),
        "cpu_milli": np.full(10, 1000),
        "memory_mib": np.zeros(10, int),
    }
    return JobTrace(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def test_load_is_area_over_duration():
    summary = describe(jobs(tasks=np.arange(1, 11), processors=11))
    assert summary.jobs == 10
    assert summary.mean_size_in_use == pytest.approx(550 / 900)
    assert summary.offered_load == pytest.approx(550 / 900 / 11)
    assert summary.rate_per_h == pytest.approx(10 / 900 * 3600)
    assert describe(jobs()).offered_load is None


def test_jobs_that_never_leave_are_counted_apart():
    run_s = np.full(10, 10.0)
    run_s[3] = np.inf
    summary = describe(jobs(run_s=run_s))
    assert (summary.jobs, summary.endless) == (10, 1)
    assert summary.run_s["max"] == 10
    assert summary.mean_size_in_use == pytest.approx(90 / 900)
    assert describe(jobs(run_s=np.full(10, np.inf))).run_s == {}
    json.dumps(summary.to_json(), allow_nan=False)


def test_classes_of_size():
    names = [size_class(size) for size in (0.25, 1, 1.5, 2, 3, 4, 5, 8, 9, 256, 257)]
    assert names == ["<1", "1", "2", "2", "3-4", "3-4", "5-8", "5-8", "9-16", "129-256", "257-512"]
    shares = describe(jobs(tasks=np.array([1, 1, 1, 1, 1, 1, 4, 4, 3, 8]))).sizes
    assert {name: share.jobs for name, share in shares.items()} == {"1": 0.6, "3-4": 0.3, "5-8": 0.1}
    assert shares["5-8"].area == pytest.approx(8 / 25)


def test_tenants_and_the_largest_percent():
    summary = describe(jobs(tenant=np.array([0] * 9 + [1]), tenant_names=("a", "b"), tasks=np.array([1] * 9 + [11])))
    assert summary.tenants["b"].jobs == pytest.approx(0.1)
    assert summary.tenants["b"].area == pytest.approx(0.55)
    assert summary.top_percent_area is None  # one percent of ten jobs is none
    many = jobs().superpose(20, 0)
    assert describe(many).top_percent_area == pytest.approx(0.01)


def test_run_like_previous_looks_within_tenant_and_size():
    run_s = np.array([10, 1000, 10, 1000, 20, 1000, 20, 1000, 10, 1000], float)
    tenant = np.array([0, 1] * 5)
    mixed = describe(jobs(run_s=run_s)).run_like_previous
    apart = describe(jobs(run_s=run_s, tenant=tenant, tenant_names=("a", "b"))).run_like_previous
    assert mixed is not None
    assert mixed < -0.9
    assert apart is not None
    assert apart > 0.9


def test_cycles():
    a_day_s = np.array([0.0, 3_700.0, 3_800.0, 7_300.0])
    at_s = np.concatenate([day * 86_400 + a_day_s for day in range(10)])
    n = len(at_s)
    columns = {name: np.resize(getattr(jobs(), name), n) for name in ("run_s", "estimate_s", "tasks", "gpu_milli")}
    trace = jobs(arrival_s=at_s, cpu_milli=np.full(n, 1000), memory_mib=np.zeros(n, int), **columns)
    summary = describe(trace)
    assert summary.daily_cycle == pytest.approx(2 / (4 / 24))
    assert summary.peak_to_mean_1d == pytest.approx(1)
    assert describe(jobs()).daily_cycle is None


def test_estimates():
    summary = describe(jobs(estimate_s=np.array([np.nan, 10, 20, 40, 5] + [np.nan] * 5))).estimates
    assert summary is not None
    assert summary.known == 0.4
    assert summary.accuracy_mean == pytest.approx((1 + 0.5 + 0.25 + 1) / 4)
    assert (summary.exact, summary.below, summary.popular) == (0.25, 0.25, 1.0)
    assert describe(jobs()).estimates is None


def test_distances():
    a, b = jobs(), jobs(run_s=np.full(10, 20.0))
    distances = compare_traces(a, b)
    assert distances["run_s"].ks == 1
    assert distances["run_s"].tail_ratio["p99"] == pytest.approx(2)
    assert distances["size"].ks == distances["interarrival_s"].ks == 0
    assert "interarrival_s" not in compare_traces(a.head(1), b)


def test_empty_and_single_traces_have_a_summary():
    for n in (0, 1, 2):
        summary = describe(small_jobs().head(n))
        assert summary.jobs == n
        json.dumps(summary.to_json(), allow_nan=False)


def test_philly_in_numbers(shared_data: Path):
    summary = describe(load_job_trace(shared_data / "traces" / "cluster" / "philly_until_2017-11-20.csv.gz"))
    assert summary.mean_size_in_use == pytest.approx(439, abs=0.5)
    assert summary.top_percent_area == pytest.approx(0.70, abs=0.005)
    assert len(summary.tenants) == 14
    assert summary.sizes["1"].jobs == pytest.approx(0.938, abs=0.001)
