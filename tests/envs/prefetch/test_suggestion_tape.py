"""A tape holds what prefetchers say live, one a tenant, and is kept for the next simulator over the same trace."""

from __future__ import annotations

import copy

import pytest
from stream_patterns import cycle, restless, trace_of

from handrail.envs.prefetch.prefetchers import PREFETCHER_TYPES, make_prefetcher
from handrail.envs.prefetch.prefetchers import tape as tape_module
from handrail.envs.prefetch.prefetchers.tape import SuggestionTape
from handrail.traces import HandrailError


@pytest.mark.parametrize("name", [name for name, kind in PREFETCHER_TYPES.items() if kind.demand_driven])
def test_a_tape_is_what_they_say_live(name):
    trace = trace_of(restless(1500, 1) + cycle(300, 9), tenants=3)
    live = [make_prefetcher(name, 4, trace.key[trace.rows_of_tenant(code)].tolist()) for code in range(trace.n_tenants)]
    tape = SuggestionTape.build(trace, name, 4)
    assert len(tape.rows) == len(trace)
    for row, (key, tenant) in enumerate(zip(trace.key.tolist(), trace.tenant.tolist(), strict=True)):
        assert tape.rows[row] == tuple(live[tenant].access(key, False))
    assert any(tape.rows)


def test_rows_without_suggestions_share_one_tuple():
    empty = {id(row) for row in SuggestionTape.build(trace_of(restless(500, 1)), "obl", 1).rows if not row}
    assert len(empty) == 1


def test_it_is_built_once_a_trace():
    trace = trace_of(restless(500, 8))
    built = SuggestionTape.build(trace, "stride", 4)
    assert SuggestionTape.build(trace_of(restless(500, 8)), "stride", 4) is built
    assert SuggestionTape.build(trace, "stride", 5) is not built
    assert SuggestionTape.build(trace.head(499), "stride", 4) is not built
    assert copy.deepcopy(built) is built


def test_tapes_that_hold_too_much_are_dropped(monkeypatch):
    monkeypatch.setattr(tape_module, "_KEPT_SUGGESTIONS", 1000)
    trace = trace_of(restless(800, 9))
    first = SuggestionTape.build(trace, "next-line", 1)
    second = SuggestionTape.build(trace, "next-line", 2)
    assert SuggestionTape.build(trace, "next-line", 2) is second
    assert SuggestionTape.build(trace, "next-line", 1) is not first


def test_what_depends_on_the_cache_has_no_tape():
    with pytest.raises(ValueError, match="not demand driven"):
        SuggestionTape.build(trace_of(restless(10, 1)), "amp", 4)
    with pytest.raises(HandrailError, match="no prefetcher"):
        SuggestionTape.build(trace_of(restless(10, 1)), "guess", 4)
