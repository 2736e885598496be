"""Numbers about an access trace, against plain loops and closed forms."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from access_samples import access_traces, small_accesses
from hypothesis import given
from hypothesis import strategies as st

from handrail.traces import AccessTrace
from handrail.traces.cache.describe import compare_traces, describe
from handrail.traces.cache.reuse import larger_before, stack_distances


@given(st.lists(st.integers(0, 12), max_size=60))
def test_stack_distances(keys: list[int]):
    expected = []
    for i, key in enumerate(keys):
        earlier = [j for j in range(i) if keys[j] == key]
        expected.append(len(set(keys[earlier[-1] : i])) if earlier else -1)
    assert stack_distances(np.array(keys, np.int64)).tolist() == expected


@given(st.permutations(range(37)), st.integers(0, 37))
def test_larger_before(values: list[int], n: int):
    expected = [sum(earlier > value for earlier in values[:i]) for i, value in enumerate(values[:n])]
    assert larger_before(np.array(values[:n], np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 20))
def test_lru_hits_where_the_distance_fits(keys: list[int], objects: int):
    cache: OrderedDict[int, None] = OrderedDict()
    hits = []
    for key in keys:
        hits.append(key in cache)
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > objects:
            cache.popitem(last=False)
    distances = stack_distances(np.array(keys, np.int64))
    assert ((distances > 0) & (distances <= objects)).tolist() == hits


def test_summary_of_a_small_trace():
    trace = AccessTrace(
        arrival_s=np.array([0.0, 1, 2, 3, 4, 5, 6, 7]),
        key=np.array([10, 50, 11, 50, 12, 10, 11, 50]),
        size_bytes=np.array([1, 2, 1, 4, 1, 3, 1, 2]),
        is_write=np.array([True] * 2 + [False] * 6),
        tenant=np.array([0, 1, 0, 1, 0, 0, 0, 1]),
        tenant_names=("walk", "hot", "idle"),
    )
    summary = describe(trace)
    assert (summary.accesses, summary.distinct_objects) == (8, 4)
    assert summary.footprint_bytes == 3 + 1 + 1 + 4
    assert summary.accessed_bytes == 15
    assert summary.writes == 0.25
    assert summary.one_hit == 0.25
    # walk: 1, 1, -2, 1; hot: 0, 0
    assert summary.deltas == pytest.approx({"1": 3 / 6, "0": 2 / 6, "-2": 1 / 6})
    # walk comes to 11 after 10 again; hot repeats itself, the second time known.
    assert summary.known_pair == pytest.approx(2 / 6)
    assert list(summary.tenants) == ["walk", "hot"]
    walk = summary.tenants["walk"]
    assert (walk.accesses, walk.objects, walk.writes, walk.one_hit) == (5 / 8, 3, 0.2, 1 / 3)
    assert (walk.next_id, walk.known_pair) == (3 / 4, 1 / 4)
    assert summary.reuse_distance["max"] == 4
    assert summary.lru_hit_ratio["50%"] == pytest.approx(1 / 8)  # two objects: 50 after 11
    assert summary.rate_per_s == pytest.approx(8 / 7)
    assert summary.content_hash == trace.content_hash


@given(access_traces(min_size=0))
def test_any_trace_has_a_summary(trace: AccessTrace):
    summary = describe(trace).to_json()
    assert summary["accesses"] == len(trace)
    assert sum(tenant["accesses"] for tenant in summary["tenants"].values()) == pytest.approx(
        0 if trace.tenant is None or len(trace) == 0 else 1
    )
    assert all(0 <= ratio <= 1 for ratio in summary["lru_hit_ratio"].values())


def test_distances_of_two_traces():
    trace = small_accesses()
    same = compare_traces(trace, trace)
    assert set(same) == {"size_bytes", "reuse_distance", "interarrival_s"}
    assert all(column.ks == 0 for column in same.values())
    assert compare_traces(trace, trace.scale_rate(4))["interarrival_s"].ks > 0.3
    assert set(compare_traces(trace, trace.head(1))) == {"size_bytes"}
