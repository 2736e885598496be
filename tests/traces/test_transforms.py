"""window, scale_rate, thin, superpose, concat, head: what each keeps and changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_samples import request_traces, small_trace, think_times

from handrail.traces import RequestTrace, TraceError


def test_window_is_half_open_and_re_based():
    trace = RequestTrace(np.array([0.0, 1.0, 2.0, 3.0]), np.arange(1, 5), np.arange(1, 5))
    cut = trace.window(1.0, 3.0)
    assert cut.arrival_s.tolist() == [0.0, 1.0]
    assert cut.prompt_tokens.tolist() == [2, 3]
    assert len(trace.window(0, float("inf"))) == 4


@pytest.mark.parametrize("bounds", [(3, 1), (1, 1), (-1, 2), (float("nan"), 2), (0, float("nan"))])
def test_window_refuses_what_is_none(bounds: tuple[float, float]):
    with pytest.raises(TraceError, match="window"):
        small_trace().window(*bounds)


@given(request_traces(), st.floats(0, 25), st.floats(25.5, 60))
def test_windows_that_touch_share_no_request_and_lose_none(trace: RequestTrace, middle: float, end: float):
    parts = [trace.window(0, middle)] if middle > 0 else []
    parts += [trace.window(middle, end), trace.window(end, float("inf"))]
    assert sum(len(part) for part in parts) == len(trace)


def test_prefix_blocks_follow_their_requests():
    trace = small_trace()
    assert trace.prefix_blocks is not None
    rows = np.array([4, 2, 40])
    taken = trace.take(rows, np.array([0.0, 1.0, 2.0]))
    assert taken.prefix_blocks is not None
    offsets, ids = trace.prefix_blocks
    for place, row in enumerate(rows):
        expected = ids[offsets[row] : offsets[row + 1]]
        got = taken.prefix_blocks[1][taken.prefix_blocks[0][place] : taken.prefix_blocks[0][place + 1]]
        assert got.tolist() == expected.tolist()


@given(request_traces(), st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]))
def test_scale_rate_keeps_requests_and_think_times(trace: RequestTrace, factor: float):
    scaled = trace.scale_rate(factor)
    assert len(scaled) == len(trace)
    assert sorted(scaled.prompt_tokens) == sorted(trace.prompt_tokens)
    assert think_times(scaled) == think_times(trace)


def test_scale_rate_without_sessions_divides_every_time():
    trace = small_trace(session_id=None)
    assert np.array_equal(trace.scale_rate(4.0).arrival_s, trace.arrival_s / 4.0)


def test_scale_rate_moves_the_first_request_of_a_session_only():
    trace = RequestTrace(np.array([0.0, 10.0, 12.0, 20.0]), [1] * 4, [1] * 4, session_id=np.array([-1, 3, 3, -1]))
    assert trace.scale_rate(2.0).arrival_s.tolist() == [0.0, 5.0, 7.0, 10.0]


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_scale_rate_refuses_no_factor(factor: float):
    with pytest.raises(TraceError, match="factor"):
        small_trace().scale_rate(factor)


@given(request_traces(), st.floats(0.01, 1.0), st.integers(0, 3))
def test_thin_keeps_whole_sessions(trace: RequestTrace, p: float, seed: int):
    thin = trace.thin(p, seed)
    whole = think_times(trace)
    assert all(gaps in whole for gaps in think_times(thin))
    assert len(trace.thin(1.0, seed)) == len(trace)


def test_thin_keeps_its_share():
    trace = small_trace(20_000, session_id=None)
    assert len(trace.thin(0.3, 1)) / len(trace) == pytest.approx(0.3, abs=0.015)
    assert trace.thin(0.3, 1).content_hash == trace.thin(0.3, 1).content_hash != trace.thin(0.3, 2).content_hash


@given(request_traces(), st.integers(1, 5), st.integers(0, 3))
def test_superpose_multiplies_requests_within_the_span(trace: RequestTrace, k: int, seed: int):
    wide = trace.superpose(k, seed)
    assert len(wide) == k * len(trace)
    assert think_times(wide) == sorted(think_times(trace) * k)
    circle_s = trace.duration_s * len(trace) / max(len(trace) - 1, 1)
    assert wide.arrival_s[0] >= trace.arrival_s[0]
    assert wide.arrival_s[-1] <= trace.arrival_s[0] + circle_s + 1e-9
    assert wide.content_hash == trace.superpose(k, seed).content_hash


def test_superpose_is_a_circular_shift_of_each_copy():
    trace = RequestTrace(np.array([0.0, 1.0, 3.0]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    wide = trace.superpose(2, 5)
    shifted = {}
    for prompt in (1, 2, 3):
        times = wide.arrival_s[wide.prompt_tokens == prompt]
        first = trace.arrival_s[prompt - 1]
        assert first in times
        shifted[prompt] = (times[times != first][0] - first) % 4.5
    assert shifted[1] == pytest.approx(shifted[2]) == pytest.approx(shifted[3])


def test_superpose_keeps_copies_apart():
    trace = small_trace()
    wide = trace.superpose(3, 0)
    assert trace.session_id is not None
    assert wide.session_id is not None
    assert trace.prefix_blocks is not None
    assert wide.prefix_blocks is not None
    assert len(np.unique(wide.session_id[wide.session_id >= 0])) == 3 * len(
        np.unique(trace.session_id[trace.session_id >= 0])
    )
    assert (wide.session_id == -1).sum() == 3 * (trace.session_id == -1).sum()
    assert len(np.unique(wide.prefix_blocks[1])) == 3 * len(np.unique(trace.prefix_blocks[1]))


def test_huge_ids_do_not_overflow_when_copies_are_kept_apart():
    ids = np.array([2**62 - 1, -1, 2**62 - 1, 5])
    trace = RequestTrace(np.arange(4.0), [1] * 4, [1] * 4, session_id=ids)
    wide = trace.superpose(3, 0)
    assert wide.session_id is not None
    assert (wide.session_id == -1).sum() == 3
    assert len(np.unique(wide.session_id[wide.session_id >= 0])) == 6


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_superpose_needs_whole_copies(k: float):
    with pytest.raises(TraceError, match="copies"):
        small_trace().superpose(k, 0)  # pyright: ignore[reportArgumentType]


def test_concat_follows_on_and_renumbers():
    first = small_trace(20, seed=1)
    second = small_trace(30, seed=2, tenant_names=("b, with comma", "c"))
    both = first.concat(second)
    assert len(both) == 50
    assert both.arrival_s[20] - both.arrival_s[19] == pytest.approx(first.duration_s / 19)
    assert np.diff(both.arrival_s[20:]) == pytest.approx(np.diff(second.arrival_s))
    assert both.tenant_names == ("a", "b, with comma", "c")
    assert both.tenant is not None
    assert second.tenant is not None
    assert [both.tenant_names[c] for c in both.tenant[20:]] == [second.tenant_names[c] for c in second.tenant]
    assert both.session_id is not None
    heads, tails = set(both.session_id[:20].tolist()), set(both.session_id[20:].tolist())
    assert heads & tails <= {-1}


def test_concat_fills_columns_that_one_lacks():
    plain = RequestTrace(np.array([0.0, 1.0]), [1, 2], [3, 4])
    both = small_trace(10).concat(plain)
    assert both.session_id is not None
    assert both.prefix_blocks is not None
    assert both.session_id[-2:].tolist() == [-1, -1]
    assert both.prefix_blocks[0][-3:].tolist() == [both.prefix_blocks[0][-1]] * 3
    assert both.tenant_names[-1] == ""
    other = small_trace(10, prefix_block_tokens=512)
    with pytest.raises(TraceError, match="16 and 512"):
        small_trace(10).concat(other)


def test_head_and_select():
    trace = small_trace()
    assert len(trace.head(7)) == 7
    assert len(trace.head(1000)) == 50
    with pytest.raises(TraceError):
        trace.head(-1)
    with pytest.raises(TraceError, match="bool mask"):
        trace.select(np.arange(50))  # pyright: ignore[reportArgumentType]
