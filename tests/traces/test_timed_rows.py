"""What the traces of all domains have from their base."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from handrail.traces import AccessTrace, JobTrace, RequestTrace
from handrail.traces.errors import TraceError

ARRIVAL_S = np.array([1.0, 2.0, 4.0])
ONES = np.ones(3, dtype=np.int64)
TRACES = {
    "requests": RequestTrace(ARRIVAL_S, ONES, ONES, name="mine"),
    "jobs": JobTrace(ARRIVAL_S, ARRIVAL_S, ARRIVAL_S, ONES, ONES * 1000, ONES, ONES, name="mine"),
    "accesses": AccessTrace(ARRIVAL_S, ONES, ONES, name="mine"),
}


@pytest.mark.parametrize("items", TRACES)
def test_a_trace_names_itself_and_copies_are_itself(items):
    trace = TRACES[items]
    assert repr(trace) == f"{type(trace).__name__}('mine', 3 {items}, 3 s)"
    assert copy.copy(trace) is trace
    assert copy.deepcopy(trace) is trace
    again = pickle.loads(pickle.dumps(trace))
    assert type(again) is type(trace)
    assert again.content_hash == trace.content_hash
    assert not again.arrival_s.flags.writeable


@pytest.mark.parametrize("items", TRACES)
def test_parts_are_of_the_same_kind_and_messages_name_the_items(items):
    trace = TRACES[items]
    assert type(trace.head(1)) is type(trace.window(2.0, 9.0)) is type(trace.rows(1, 2)) is type(trace)
    assert trace.rows(1, 2).arrival_s.tolist() == [0.0, 2.0]
    assert trace.window(2.0, 9.0).arrival_s.tolist() == [0.0, 2.0]
    assert trace.select(trace.arrival_s > 1.5).arrival_s.tolist() == [2.0, 4.0]
    with pytest.raises(TraceError, match=f"mine: rows 2 to 4 are not all there; it has 3 {items}"):
        trace.rows(2, 3)
    with pytest.raises(TraceError, match="goes back in time"):
        trace.replace(arrival_s=ARRIVAL_S[::-1])
