"""Permuting ids and interleaving traces as tenants."""

from __future__ import annotations

import numpy as np
import pytest
from access_samples import access_traces, small_accesses
from hypothesis import given
from hypothesis import strategies as st

from handrail.traces import AccessTrace, TraceError
from handrail.traces.cache import interleave, permute_keys


@given(access_traces(), st.integers(0, 5))
def test_permuting_keeps_what_is_equal(trace: AccessTrace, seed: int):
    permuted = permute_keys(trace, seed)
    assert permuted.next_row.tolist() == trace.next_row.tolist()
    assert sorted(set(permuted.key.tolist())) == list(range(trace.distinct_objects))
    assert permuted.arrival_s.tolist() == trace.arrival_s.tolist()
    assert permute_keys(trace, seed).content_hash == permuted.content_hash


def test_permuting_hides_the_order_of_appearance():
    trace = small_accesses(1000, key=np.arange(1000))
    assert (np.diff(permute_keys(trace, 0).key) == 1).sum() < 10
    assert permute_keys(trace, 0).content_hash != permute_keys(trace, 1).content_hash
    with pytest.raises(TraceError, match="0 or more"):
        permute_keys(trace, -1)


def regular(n: int, gap_s: float, first_key: int = 0, **changes: object) -> AccessTrace:
    values = {"arrival_s": np.arange(n) * gap_s, "key": first_key + np.arange(n), "size_bytes": np.full(n, 7)}
    return AccessTrace(**{**values, "name": f"every {gap_s} s", **changes})  # pyright: ignore[reportArgumentType]


def test_repeating_fills_the_span_of_the_longest():
    merged = interleave([regular(100, 1.0), regular(20, 1.0)], ("long", "short"), offsets=False)
    assert merged.tenant_names == ("long", "short")
    long, short = merged.rows_of_tenant(0), merged.rows_of_tenant(1)
    assert merged.key[long].tolist() == list(range(100))
    assert merged.arrival_s[long].tolist() == list(range(100))
    assert len(short) in (100, 101)  # the span's very end is the first moment of the next round
    assert (np.diff(merged.key[short].reshape(-1)[:20]) == 1).all()
    assert merged.key[short][:20].tolist() == merged.key[short][20:40].tolist()
    assert merged.distinct_objects == 120


def test_stretching_slows_down():
    merged = interleave([regular(100, 1.0), regular(20, 1.0)], ("long", "short"), offsets=False, durations="stretch")
    short = merged.rows_of_tenant(1)
    np.testing.assert_allclose(merged.arrival_s[short], np.arange(20) * 5.0)


def test_rates_come_first():
    merged = interleave([regular(100, 1.0), regular(20, 1.0)], ("a", "b"), offsets=False, rates_per_s=(2.0, None))
    assert merged.duration_s == pytest.approx(49.5, abs=0.6)
    np.testing.assert_allclose(merged.arrival_s[merged.rows_of_tenant(0)][:100], np.arange(100) * 0.5)


@given(st.lists(access_traces(min_size=2), min_size=1, max_size=4), st.integers(0, 5), st.booleans())
def test_tenants_have_keys_of_their_own(traces: list[AccessTrace], seed: int, stretch: bool):
    traces = [trace.replace(key=trace.key % 2**40) for trace in traces]
    names = [f"t{i}" for i in range(len(traces))]
    merged = interleave(traces, names, seed, durations="stretch" if stretch else "repeat")
    assert merged.tenant is not None
    found = [set(merged.key[merged.rows_of_tenant(code)].tolist()) for code in range(len(traces))]
    assert sum(map(len, found)) == merged.distinct_objects
    for trace, keys in zip(traces, found, strict=True):
        distances = np.diff(np.unique(trace.key))
        if len(keys) == trace.distinct_objects:
            assert np.diff(sorted(keys)).tolist() == distances.tolist()
    assert merged.backing == ("seen" if any(trace.backing == "seen" for trace in traces) else "all")
    again = interleave(traces, names, seed, durations="stretch" if stretch else "repeat")
    assert merged.content_hash == again.content_hash


def test_offsets_turn_each_trace_on_its_circle():
    traces = [regular(50, 1.0, 1000), regular(50, 1.0)]
    merged = interleave(traces, ("a", "b"), 3)
    for code, first in ((0, 1000), (1, None)):
        keys = merged.key[merged.rows_of_tenant(code)][:50]
        shifted = np.sort(keys)
        turn = int(np.argmin(keys))
        assert turn > 0
        assert np.roll(keys, -turn).tolist() == shifted.tolist()
        assert first is None or shifted[0] == first
    other = interleave([*traces, regular(10, 1.0)], ("a", "b", "c"), 3)
    # One more tenant leaves the others' offsets as they were.
    for code in (0, 1):
        a, b = merged.rows_of_tenant(code), other.rows_of_tenant(code)
        np.testing.assert_array_equal(merged.arrival_s[a], other.arrival_s[b])
        np.testing.assert_array_equal(merged.key[a], other.key[b])


def test_writes_and_sizes_stay_with_their_access():
    a, b = small_accesses(50, seed=1), regular(50, 1.0, is_write=None)
    merged = interleave([a, b], ("a", "b"))
    assert merged.is_write is not None
    rows = merged.rows_of_tenant(0)
    shift = merged.key[rows].min() - a.key.min()
    original = np.stack((a.key, a.size_bytes, a.is_write))
    found = np.stack((merged.key[rows] - shift, merged.size_bytes[rows], merged.is_write[rows]))
    np.testing.assert_array_equal(np.unique(found, axis=1), np.unique(original, axis=1))
    assert not merged.is_write[merged.rows_of_tenant(1)].any()


def test_mistakes():
    trace = regular(5, 1.0)
    for arguments, options, message in (
        (([],), {}, "at least one trace"),
        (([trace, trace.head(0)], ("a", "b")), {}, "none of them empty"),
        (([trace, trace],), {}, "all different"),
        (([trace], ("a", "b")), {}, "one name a trace"),
        (([trace],), {"rates_per_s": (1.0, 2.0)}, "one rate a trace"),
        (([trace],), {"rates_per_s": (0.0,)}, "above 0"),
        (([trace],), {"seed": -1}, "seed must be"),
        (([trace],), {"durations": "cut"}, "repeat or stretch"),
    ):
        with pytest.raises(TraceError, match=message):
            interleave(*arguments, **options)
