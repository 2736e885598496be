"""The canonical access trace: checks, immutability, selection, load."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from access_samples import access_traces, small_accesses
from hypothesis import given
from hypothesis import strategies as st

from handrail.traces import AccessTrace, TraceError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival_s": np.array([1.0, 0.5])}, "row 2: arrival_s goes back"),
        ({"arrival_s": np.array([-1.0, 0.5])}, "row 1: arrival_s is negative"),
        ({"arrival_s": np.array([0, np.nan])}, "row 2: arrival_s is not a finite"),
        ({"arrival_s": np.array([0, 1e12])}, "row 2: arrival_s is too large"),
        ({"key": np.array([0, -1])}, "row 2: key is negative"),
        ({"key": np.array([0.5, 1.0])}, "key must hold whole numbers"),
        ({"key": np.array([1])}, "key has shape"),
        ({"size_bytes": np.array([1, 0])}, "row 2: size_bytes is below 1"),
        ({"size_bytes": np.array([1, 2**51])}, "row 2: size_bytes is above"),
        ({"is_write": np.array([0, 1])}, "is_write must be bool"),
        ({"is_write": np.array([True])}, "is_write must be bool"),
        ({"tenant": np.array([0, 2])}, "row 2: tenant is no index"),
        ({"tenant": None}, "without the column tenant"),
        ({"tenant_names": ("a", "a")}, "must be distinct"),
        ({"backing": "none"}, "backing must be all or seen"),
    ],
)
def test_columns_are_checked(changes: dict, message: str):
    with pytest.raises(TraceError, match=message):
        small_accesses(2, **changes)


def test_columns_are_read_only_and_shared_by_copies():
    trace = small_accesses()
    for column in ("arrival_s", "key", "size_bytes", "is_write", "tenant"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(trace, column)[0] = 1
    assert copy.deepcopy(trace) is trace
    assert copy.copy(trace) is trace
    back = pickle.loads(pickle.dumps(trace))
    assert back.content_hash == trace.content_hash
    with pytest.raises(ValueError, match="read-only"):
        back.key[0] = 1


def test_a_caller_cannot_write_through():
    key, flags = np.array([1, 2]), np.array([True, False])
    trace = small_accesses(2, key=key, is_write=flags)
    key[0], flags[0] = 9, False
    assert trace.key.tolist() == [1, 2]
    assert trace.is_write is not None
    assert trace.is_write.tolist() == [True, False]


@given(access_traces())
def test_properties_against_plain_loops(trace: AccessTrace):
    keys = trace.key.tolist()
    later = [next((j for j in range(i + 1, len(keys)) if keys[j] == keys[i]), -1) for i in range(len(keys))]
    assert trace.next_row.tolist() == later
    assert trace.distinct_objects == len(set(keys))
    rows = [trace.rows_of_tenant(code).tolist() for code in range(trace.n_tenants)]
    assert sorted(row for own in rows for row in own) == list(range(len(trace)))
    assert all(own == sorted(own) for own in rows)
    with pytest.raises(TraceError, match="no tenant of code"):
        trace.rows_of_tenant(trace.n_tenants)


def test_hash_depends_on_content_alone():
    trace = small_accesses()
    assert trace.tenant is not None
    swapped = trace.replace(tenant=1 - trace.tenant, tenant_names=trace.tenant_names[::-1])
    assert swapped.content_hash == trace.content_hash
    assert trace.replace(name="x", notes={}).content_hash == trace.content_hash
    for changes in ({"backing": "all"}, {"is_write": None}, {"key": trace.key + 1}):
        assert trace.replace(**changes).content_hash != trace.content_hash


@given(access_traces(), st.integers(0, 50), st.integers(1, 30))
def test_windows_and_rows_are_rebased(trace: AccessTrace, start_s: int, length_s: int):
    window = trace.window(start_s, start_s + length_s)
    inside = (trace.arrival_s >= start_s) & (trace.arrival_s < start_s + length_s)
    assert window.key.tolist() == trace.key[inside].tolist()
    np.testing.assert_allclose(window.arrival_s + start_s, trace.arrival_s[inside])
    assert window.origin_s == start_s
    part = trace.rows(len(trace) - 1, 1)
    assert (part.arrival_s[0], part.origin_s) == (0, trace.arrival_s[-1])
    with pytest.raises(TraceError, match="are not all there"):
        trace.rows(1, len(trace))
    with pytest.raises(TraceError, match="a window needs"):
        trace.window(5, 5)


def test_selection():
    trace = small_accesses()
    assert len(trace.head(3)) == 3
    assert len(trace.head(10**6)) == len(trace)
    assert trace.select(trace.key == trace.key[0]).distinct_objects == 1
    with pytest.raises(TraceError, match="select needs"):
        trace.select([True])
    with pytest.raises(TraceError, match="0 or more"):
        trace.head(-1)


@given(access_traces(), st.sampled_from((0.25, 1.0, 3.0)))
def test_scaling_the_rate(trace: AccessTrace, factor: float):
    scaled = trace.scale_rate(factor)
    np.testing.assert_allclose(scaled.arrival_s * factor, trace.arrival_s)
    assert scaled.key is not None
    assert scaled.key.tolist() == trace.key.tolist()
    with pytest.raises(TraceError, match="rate factor"):
        trace.scale_rate(0)


def test_thinning_keeps_a_share():
    trace = small_accesses(4000)
    thinned = trace.thin(0.25, 3)
    assert 850 < len(thinned) < 1150
    assert thinned.content_hash == trace.thin(0.25, 3).content_hash != trace.thin(0.25, 4).content_hash
    assert trace.thin(1.0, 0).content_hash == trace.content_hash
    with pytest.raises(TraceError, match="share"):
        trace.thin(0, 1)


@given(access_traces(), st.integers(1, 4), st.integers(0, 3))
def test_superposed_copies_have_keys_of_their_own(trace: AccessTrace, k: int, seed: int):
    trace = trace.replace(key=trace.key % 2**40)
    merged = trace.superpose(k, seed)
    assert len(merged) == k * len(trace)
    assert merged.distinct_objects == k * trace.distinct_objects
    assert merged.arrival_s.min() >= trace.arrival_s[0]
    own = np.unique(merged.key)
    # Neighbours stay neighbours, and no other ids become so.
    assert (np.diff(own) == 1).sum() == k * (np.diff(np.unique(trace.key)) == 1).sum()


def test_superposing_refuses_what_does_not_fit():
    trace = small_accesses(4, key=np.array([0, 2**62, 3, 4]))
    with pytest.raises(TraceError, match="permute=True"):
        trace.superpose(3, 0)
    with pytest.raises(TraceError, match="whole number of copies"):
        trace.superpose(0, 0)


@given(access_traces(), access_traces())
def test_concatenation(first: AccessTrace, second: AccessTrace):
    joined = first.concat(second)
    assert joined.key.tolist() == first.key.tolist() + second.key.tolist()
    assert joined.backing == ("all" if (first.backing, second.backing) == ("all", "all") else "seen")
    assert (joined.is_write is None) == (first.is_write is None and second.is_write is None)
    if joined.tenant is not None:
        names = [joined.tenant_names[code] for code in joined.tenant.tolist()]
        parts = [["" if t.tenant is None else t.tenant_names[c] for c in _codes(t)] for t in (first, second)]
        assert names == parts[0] + parts[1]
    assert first.concat(second.select(np.zeros(len(second), bool))) is first


def _codes(trace: AccessTrace) -> list[int]:
    return [0] * len(trace) if trace.tenant is None else trace.tenant.tolist()
