"""rows, window, scale_rate, thin, superpose, concat, head of job traces: what each keeps and changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import job_traces, small_jobs

from handrail.traces import JobTrace, TraceError


def slack_s(trace: JobTrace) -> np.ndarray:
    assert trace.deadline_s is not None
    return trace.deadline_s - trace.arrival_s


def test_rows_are_consecutive_and_start_at_0():
    trace = small_jobs()
    cut = trace.rows(10, 5)
    assert cut.arrival_s[0] == 0
    assert cut.run_s.tolist() == trace.run_s[10:15].tolist()
    assert np.allclose(cut.arrival_s + cut.origin_s, trace.arrival_s[10:15] + trace.origin_s)
    assert np.allclose(slack_s(cut), slack_s(trace)[10:15], equal_nan=True)
    for start, length in ((-1, 2), (0, 0), (48, 3), (50, 1)):
        with pytest.raises(TraceError, match="rows"):
            trace.rows(start, length)


def test_window_is_half_open_and_keeps_the_submit_time():
    trace = small_jobs(4, arrival_s=np.array([0.0, 1.0, 2.0, 3.0]))
    cut = trace.window(1.0, 3.0)
    assert cut.arrival_s.tolist() == [0.0, 1.0]
    assert cut.origin_s == 8.0
    assert cut.window(0.5, 2.0).origin_s == 8.5
    for bounds in ((3, 1), (1, 1), (-1, 2), (float("nan"), 2)):
        with pytest.raises(TraceError, match="window"):
            trace.window(*bounds)


@settings(max_examples=40, deadline=None)
@given(job_traces(), st.floats(0, 25), st.floats(25.5, 60))
def test_windows_that_touch_share_no_job_and_lose_none(trace: JobTrace, middle: float, end: float):
    parts = [trace.window(0, middle)] if middle > 0 else []
    parts += [trace.window(middle, end), trace.window(end, float("inf"))]
    assert sum(len(part) for part in parts) == len(trace)


def test_scale_rate_divides_times_and_keeps_runs_and_slack():
    trace = small_jobs()
    fast = trace.scale_rate(4.0)
    assert np.array_equal(fast.arrival_s, trace.arrival_s / 4.0)
    assert np.array_equal(fast.run_s, trace.run_s)
    assert np.allclose(slack_s(fast), slack_s(trace), equal_nan=True)
    assert fast.origin_s == trace.origin_s / 4
    for factor in (0, -1, float("nan"), float("inf")):
        with pytest.raises(TraceError, match="factor"):
            trace.scale_rate(factor)


def test_thin_keeps_a_share():
    trace = small_jobs(5_000)
    assert len(trace.thin(0.3, 1)) == pytest.approx(1_500, abs=120)
    assert trace.thin(0.3, 1).content_hash == trace.thin(0.3, 1).content_hash != trace.thin(0.3, 2).content_hash
    assert trace.thin(1.0, 1).content_hash == trace.content_hash
    for p in (0, -0.1, 1.1):
        with pytest.raises(TraceError, match="thin"):
            trace.thin(p, 0)


@settings(max_examples=40, deadline=None)
@given(job_traces(), st.integers(1, 4), st.integers(0, 3))
def test_superpose_multiplies_jobs_and_keeps_the_span(trace: JobTrace, k: int, seed: int):
    merged = trace.superpose(k, seed)
    assert len(merged) == k * len(trace)
    assert sorted(merged.run_s.tolist()) == sorted(trace.run_s.tolist() * k)
    gap_s = trace.duration_s / max(len(trace) - 1, 1)
    assert merged.arrival_s[0] >= trace.arrival_s[0]
    assert merged.arrival_s[-1] <= trace.arrival_s[-1] + gap_s + 1e-6


def test_superpose_refuses_no_count():
    for k in (0, -1, 1.5):
        with pytest.raises(TraceError, match="superpose"):
            small_jobs().superpose(k, 0)  # pyright: ignore[reportArgumentType]


def test_concat_fills_what_one_trace_lacks():
    bare = small_jobs(
        3, user=None, priority=None, deadline_s=None, tenant=None, tenant_names=(), gpu_types=None, gpu_type_names=()
    )
    full = small_jobs(4, gpu_type_names=("A100", "V100"))
    for first, second in ((bare, full), (full, bare)):
        both = first.concat(second)
        lacking = slice(0, 3) if first is bare else slice(4, 7)
        having = slice(3, 7) if first is bare else slice(0, 4)
        assert both.user is not None
        assert both.gpu_types is not None
        assert both.tenant is not None
        assert full.gpu_types is not None
        assert set(both.user[lacking]) == {-1}
        assert set(both.gpu_types[lacking]) == {0}
        assert {both.tenant_names[code] for code in both.tenant[lacking]} == {""}
        assert np.isnan(slack_s(both)[lacking]).all()
        assert np.allclose(slack_s(both)[having], slack_s(full), equal_nan=True)
        names = [{both.gpu_type_names[b] for b in range(2) if m >> b & 1} for m in both.gpu_types[having].tolist()]
        own = [{full.gpu_type_names[b] for b in range(2) if m >> b & 1} for m in full.gpu_types.tolist()]
        assert names == own


def test_concat_of_different_models_keeps_them_apart():
    first = small_jobs(3, gpu_types=np.array([1, 2, 3]), gpu_type_names=("T4", "A100"))
    second = small_jobs(2, gpu_types=np.array([1, 3]), gpu_type_names=("A100", "V100"))
    both = first.concat(second)
    assert both.gpu_type_names == ("T4", "A100", "V100")
    assert both.gpu_types is not None
    assert both.gpu_types.tolist() == [1, 2, 3, 2, 6]


def test_empty_selection_is_a_trace():
    empty = small_jobs().select(np.zeros(50, bool))
    assert len(empty) == 0
    assert empty.duration_s == 0.0
    assert len(empty.superpose(3, 0)) == len(empty.scale_rate(2.0)) == len(empty.thin(0.5, 0)) == 0
    assert empty.concat(small_jobs()).content_hash == small_jobs().content_hash
    with pytest.raises(TraceError, match="mask"):
        small_jobs().select([True])
    with pytest.raises(TraceError, match="head"):
        small_jobs().head(-1)
