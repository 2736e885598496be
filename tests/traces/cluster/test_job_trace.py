"""The canonical job trace: its checks, its immutability, its hash, and what is computed from it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from job_samples import small_jobs

from handrail.traces import JobTrace, TraceError, load_job_trace


def test_columns_are_read_only_and_cut_loose_from_their_source():
    mine = np.arange(50.0)
    trace = small_jobs(arrival_s=mine, deadline_s=None)
    mine[0] = 5.0
    assert trace.arrival_s[0] == 0.0
    made = (trace, trace.rows(3, 9), trace.superpose(2, 1), trace.concat(trace), pickle.loads(pickle.dumps(trace)))
    for each in made:
        for column in (each.arrival_s, each.run_s, each.tasks, each.gpu_types, each.tenant, each.size, each.area_s):
            assert column is not None
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 9


def test_pickling_keeps_content_and_copies_share_it():
    trace = small_jobs()
    assert pickle.loads(pickle.dumps(trace)).content_hash == trace.content_hash
    assert copy.deepcopy(trace) is trace


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival_s": [0.0, 2.0, 1.0]}, "row 3: arrival_s goes back"),
        ({"arrival_s": [-1.0, 2.0, 3.0]}, "row 1: arrival_s is negative"),
        ({"run_s": [1.0, 0.0, 1.0]}, "row 2: run_s is not above 0"),
        ({"run_s": [1.0, np.nan, 1.0]}, "row 2: run_s is not above 0"),
        ({"run_s": [1.0, 1e15, 1.0]}, "row 2: run_s is too large"),
        ({"estimate_s": [1.0, 0.0, 1.0]}, "row 2: estimate_s is neither"),
        ({"estimate_s": [1.0, np.inf, 1.0]}, "row 2: estimate_s is too large"),
        ({"tasks": [1, 0, 1]}, "row 2: tasks is below 1"),
        ({"tasks": [1.5, 1, 1]}, "whole numbers"),
        ({"gpu_milli": [0, 1500, 0]}, "row 2: gpu_milli is neither a share"),
        ({"gpu_milli": [0, -1, 0]}, "row 2: gpu_milli is negative"),
        ({"cpu_milli": [1, 0, 1]}, "row 2: gpu_milli and cpu_milli are both 0"),
        ({"memory_mib": [0, 0]}, "column memory_mib has shape"),
        ({"user": [0, -2, 0]}, "row 2: user is below -1"),
        ({"tenant": [0, 1, 0], "tenant_names": ("a",)}, "row 2: tenant is no index"),
        ({"tenant_names": ("a",)}, "without the column"),
        ({"gpu_types": [0, 2, 0], "gpu_type_names": ("a",)}, "row 2: gpu_types has bits without a name"),
        ({"gpu_types": [0, 1, 0], "gpu_type_names": ("a|b",)}, "gpu_type_names"),
        ({"gpu_type_names": ("a",)}, "without the column"),
        ({"deadline_s": [1.0, np.inf, np.nan]}, "row 2: deadline_s is infinite"),
        ({"processors": 0}, "processors must be at least 1"),
    ],
)
def test_wrong_columns_are_refused(changes: dict, message: str):
    values = {"arrival_s": [0.0, 1.0, 2.0], "run_s": [1.0, 1.0, 1.0], "estimate_s": [np.nan, 1.0, 2.0]}
    counts = {"tasks": [1, 1, 1], "gpu_milli": [0, 0, 0], "cpu_milli": [1, 1, 1], "memory_mib": [0, 0, 0]}
    with pytest.raises(TraceError, match=message):
        JobTrace(**{**values, **counts, **changes})


def test_size_counts_gpus_where_a_job_asks_for_any():
    columns = {"estimate_s": np.full(3, np.nan), "memory_mib": np.zeros(3, int), "run_s": np.array([10.0, 4.0, np.inf])}
    trace = JobTrace(
        arrival_s=np.zeros(3),
        tasks=np.array([2, 3, 1]),
        gpu_milli=np.array([500, 0, 8000]),
        cpu_milli=np.array([9000, 2000, 0]),
        **columns,
    )
    assert trace.size.tolist() == [1.0, 6.0, 8.0]
    assert trace.area_s.tolist() == [10.0, 24.0, np.inf]


def test_hash_tells_content_apart_and_ignores_name_and_numbering():
    trace = small_jobs()
    assert trace.replace(name="other", notes={}, processors=None).content_hash == trace.content_hash
    assert trace.tenant is not None
    assert trace.gpu_types is not None
    renamed = trace.replace(tenant=1 - trace.tenant, tenant_names=trace.tenant_names[::-1])
    swapped = ((trace.gpu_types & 1) << 1) | (trace.gpu_types >> 1)
    retyped = trace.replace(gpu_types=swapped, gpu_type_names=trace.gpu_type_names[::-1])
    assert renamed.content_hash == retyped.content_hash == trace.content_hash
    others = [
        trace.replace(run_s=trace.run_s * 2),
        trace.replace(estimate_s=np.full(50, np.nan)),
        trace.replace(tasks=trace.tasks + 1),
        trace.replace(tenant=1 - trace.tenant),
        trace.replace(gpu_types=swapped),
        trace.replace(user=None),
        trace.replace(priority=None),
        trace.replace(deadline_s=None),
        trace.replace(arrival_s=np.nextafter(trace.arrival_s, np.inf)),
        trace.head(49),
    ]
    assert len({trace.content_hash, *(other.content_hash for other in others)}) == len(others) + 1


def test_hash_knows_one_nan_only():
    trace = small_jobs()
    odd = np.where(np.isnan(trace.estimate_s), -np.float64("nan"), trace.estimate_s)
    assert trace.replace(estimate_s=odd).content_hash == trace.content_hash


@pytest.mark.parametrize("hash_seed", ["0", "7"])
def test_hash_is_the_same_in_every_process(hash_seed: str):
    code = "from handrail.traces import load_job_trace; print(load_job_trace().superpose(2, 3).content_hash)"
    environment = {"PYTHONHASHSEED": hash_seed, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == load_job_trace().superpose(2, 3).content_hash
