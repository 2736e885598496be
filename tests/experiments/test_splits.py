"""Splits by time, and the measured part of a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.experiments.splits import (
    MIN_FOR_MARGINS,
    cut_split,
    gap_for,
    gap_note,
    measured_window,
    split_parts,
    whole_window,
)
from handrail.traces import HandrailError, RequestTrace


def trace_at(arrival_s):
    n = len(arrival_s)
    return RequestTrace(
        arrival_s=np.asarray(arrival_s, dtype=float),
        prompt_tokens=np.arange(1, n + 1),
        output_tokens=np.full(n, 5),
        name="made",
    )


def test_parts_take_half_a_fifth_and_the_rest_of_the_time_less_the_gaps():
    parts = split_parts(trace_at(np.linspace(0, 10_000, 501)))
    gap_s = gap_for(10_000)
    assert gap_s == 200
    assert (parts["train"].start_s, parts["train"].end_s) == (0, 5000)
    assert (parts["validation"].start_s, parts["validation"].end_s) == (5000 + gap_s, 7000)
    assert parts["test"].start_s == 7000 + gap_s
    assert parts["test"].end_s > 10_000


@given(st.lists(st.floats(min_value=0, max_value=1e7), min_size=20, max_size=200))
def test_no_request_is_in_two_parts_and_those_between_are_a_gap_apart(stamps):
    trace = trace_at(np.sort(stamps))
    parts = split_parts(trace)
    rows = {}
    for name in ("train", "validation", "test"):
        part = parts[name]
        rows[name] = np.flatnonzero((trace.arrival_s >= part.start_s) & (trace.arrival_s < part.end_s))
    for earlier, later in (("train", "validation"), ("validation", "test")):
        if len(rows[earlier]) and len(rows[later]):
            apart_s = trace.arrival_s[rows[later][0]] - trace.arrival_s[rows[earlier][-1]]
            assert apart_s >= parts[later].gap_s * (1 - 1e-9)
    if trace.duration_s > 0:
        assert rows["test"][-1] == len(trace) - 1


def test_a_cut_part_starts_at_zero_and_holds_its_own_requests():
    trace = trace_at(np.linspace(0, 10_000, 501))
    test = cut_split(trace, "test")
    assert test.arrival_s[0] < 21
    assert test.prompt_tokens[-1] == 501
    assert cut_split(trace, "all") is trace


def test_an_unknown_or_empty_part_is_refused():
    with pytest.raises(HandrailError, match="no split is named 'tset'; choose one of all, train"):
        cut_split(trace_at([0.0, 1.0]), "tset")
    with pytest.raises(HandrailError, match="made: its validation part holds no request"):
        cut_split(trace_at([0.0, 1.0, 2.0]), "validation")


def test_warm_up_and_cool_down_are_replayed_and_not_measured():
    arrival_s = np.arange(0.0, 2000.0)
    assert len(arrival_s) == MIN_FOR_MARGINS
    window = measured_window(trace_at(arrival_s))
    assert (window.start_s, window.end_s) == (60.0, 1999.0 - 120.0)
    assert window.mask(arrival_s).sum() == 1879 - 60
    short = measured_window(trace_at(np.linspace(0.0, 100.0, 2001)))
    assert (short.start_s, short.end_s) == (10.0, 85.0)


def test_a_window_too_small_or_too_sparse_for_margins_is_measured_whole():
    assert measured_window(trace_at(np.arange(0.0, MIN_FOR_MARGINS - 1.0))) == whole_window()
    assert measured_window(trace_at([0.0] * 1500 + [100.0] * 1500)) == whole_window()
    assert whole_window().mask(np.array([0.0, 1e9])).all()


def test_a_gap_shorter_than_a_sojourn_is_told():
    assert gap_note(120.0, 119.0) is None
    assert gap_note(0.0, 500.0) is None
    assert "120.0 s" in gap_note(120.0, 120.0)
