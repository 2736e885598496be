"""Shifts: what each changes of a trace, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from stress_fakes import accesses, jobs, prepared, requests

from handrail.experiments.scenarios import LengthMix, StressContext, context_of, parse_stress
from handrail.experiments.scenarios.system_faults import SystemFault
from handrail.traces import HandrailError

TRACES = {"llm": requests, "cluster": jobs, "prefetch": accesses}


def shifted(domain, text, seed=4):
    trace = TRACES[domain]()
    context = StressContext.of(domain, trace, seed)
    stress = parse_stress(text)
    return trace, stress.on_trace(trace, context), stress.window_s(context)


def count(trace, window_s):
    return int(((trace.arrival_s >= window_s[0]) & (trace.arrival_s < window_s[1])).sum())


@pytest.mark.parametrize("domain", TRACES)
@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0, 3.0])
def test_the_load_changes_within_the_window_and_nowhere_else(domain, factor):
    before, after, window = shifted(domain, f"load:{factor}")
    assert count(after, window) == pytest.approx(factor * count(before, window), rel=0.25)
    outside = len(before) - count(before, window)
    assert len(after) - count(after, window) == outside
    if factor > 1:  # what was there stays
        assert np.isin(before.arrival_s, after.arrival_s).all()


@pytest.mark.parametrize("domain", TRACES)
def test_a_flash_crowd_is_short(domain):
    before, after, window = shifted(domain, "flash-crowd")
    assert window[1] - window[0] == pytest.approx(0.03 * before.duration_s)
    assert 2.5 < count(after, window) / count(before, window) < 8.5
    assert len(after) - count(after, window) == len(before) - count(before, window)


@pytest.mark.parametrize("domain", TRACES)
def test_a_drift_rises(domain):
    before, after, window = shifted(domain, "drift")
    halves = [(window[0], sum(window) / 2), (sum(window) / 2, window[1])]
    early, late = (count(after, half) / count(before, half) for half in halves)
    assert 1.0 < early < late < 1.9


def test_sessions_of_added_requests_keep_their_think_times():
    before, after, _ = shifted("llm", "load:3")

    def gaps(trace):
        found = []
        for session in np.unique(trace.session_id[trace.session_id >= 0]):
            found += np.diff(trace.arrival_s[trace.session_id == session]).round(6).tolist()
        return found

    assert set(gaps(after)) <= set(gaps(before)) | set(gaps(before.window(0.0, 1e9)))
    assert len(np.unique(after.session_id)) > len(np.unique(before.session_id))


def test_added_accesses_have_keys_of_their_own_and_keep_their_runs():
    before, after, window = shifted("prefetch", "load:2")
    new = after.select(~np.isin(after.arrival_s, before.arrival_s))
    assert not np.isin(new.key, before.key).any()
    assert count(new, window) == len(new)
    assert (np.diff(new.key[new.key > new.key.min() + 900]) == 1).mean() > 0.3


def test_length_mix_is_prompts_for_outputs_and_longer_fewer_jobs_and_larger_scanned_objects():
    before, after, window = shifted("llm", "length-mix")
    inside = (before.arrival_s >= window[0]) & (before.arrival_s < window[1])
    assert np.array_equal(after.prompt_tokens[inside], 4 * before.prompt_tokens[inside])
    assert after.output_tokens[inside].sum() == pytest.approx(before.output_tokens[inside].sum() / 4, rel=0.05)
    assert after.output_tokens.min() >= 1
    assert np.array_equal(after.prompt_tokens[~inside], before.prompt_tokens[~inside])

    before, after, window = shifted("cluster", "length-mix")
    work = [t.select((t.arrival_s >= window[0]) & (t.arrival_s < window[1])).run_s.sum() for t in (before, after)]
    assert count(after, window) < 0.5 * count(before, window)
    assert work[1] == pytest.approx(work[0], rel=0.4)

    before, after, window = shifted("prefetch", "length-mix")
    inside = (before.arrival_s >= window[0]) & (before.arrival_s < window[1])
    assert (after.size_bytes[inside] == 8192).all()
    assert 0.05 < (after.key != before.key)[inside].mean() < 0.5
    assert np.array_equal(after.key[~inside], before.key[~inside])


def test_lengths_may_be_drawn_from_another_trace():
    trace = requests()
    mix = LengthMix.like(trace.head(3))
    after = mix.on_trace(trace, StressContext.of("llm", trace))
    changed = after.prompt_tokens != trace.prompt_tokens
    pairs = set(zip(after.prompt_tokens[changed].tolist(), after.output_tokens[changed].tolist(), strict=True))
    assert 1 < len(pairs) <= 3
    assert pairs <= set(mix.pairs)
    with pytest.raises(HandrailError, match="mean nothing to domain cluster"):
        mix.on_trace(jobs(), StressContext.of("cluster", jobs()))


@pytest.mark.parametrize("domain", TRACES)
def test_a_new_tenant_comes_and_goes(domain):
    before, after, window = shifted(domain, "new-tenant")
    code = after.tenant_names.index("newcomer")
    new = after.select(after.tenant == code)
    assert count(new, window) == len(new) == len(after) - len(before)
    assert 0.1 < len(new) / count(before, window) < 0.6


def test_phase_changes_keep_what_they_say_they_keep():
    before, after, window = shifted("prefetch", "phase-change")
    inside = (before.arrival_s >= window[0]) & (before.arrival_s < window[1])
    assert set(after.key) <= set(before.key)
    runs = [(np.diff(t.select(inside).key) == 1).mean() for t in (before, after)]
    assert runs[1] < 0.1 * runs[0]
    assert np.array_equal(np.unique(before.key[inside], return_counts=True)[1].sum(), inside.sum())

    before, after, window = shifted("cluster", "phase-change")
    inside = (before.arrival_s >= window[0]) & (before.arrival_s < window[1])
    assert after.area_s[inside].sum() == pytest.approx(before.area_s[inside].sum(), rel=0.02)
    assert after.size[inside].mean() > 1.3 * before.size[inside].mean()

    before, after, window = shifted("llm", "phase-change")
    assert len(after) == len(before)
    assert count(after, window) == pytest.approx(count(before, window), rel=0.1)
    bins = np.arange(window[0], window[1], 5.0)
    busiest = [np.histogram(t.arrival_s, bins)[0].max() for t in (before, after)]
    assert busiest[1] > 2.5 * busiest[0]


def test_faults_of_the_system_go_into_its_config_at_their_times():
    for domain, fault, field in (("llm", "straggler", "slowdowns"), ("llm", "crash", "outages")):
        given = prepared(domain)
        stress = SystemFault(fault=fault)
        context = context_of(given)
        changed = stress.on_system(given.system, context)
        (entry,) = getattr(changed, field)
        start_s, end_s = stress.window_s(context)
        assert set(entry.model_dump().values()) >= {start_s, end_s}
        assert given.system.outages == ()
    given = prepared("cluster")
    down = SystemFault(fault="crash").on_system(given.system, context_of(given)).faults.outages
    assert len({outage.machine for outage in down}) == len(down) == 1
    processors = given.system.model_copy(update={"groups": (), "processors": 32})
    (gone,) = SystemFault(fault="crash").on_system(processors, context_of(given)).faults.processor_outages
    assert gone.processors == 8
    with pytest.raises(HandrailError, match="interchangeable processors are no machines"):
        SystemFault(fault="straggler").on_system(processors, context_of(given))
    (slow,) = (
        SystemFault(fault="slow-tier")
        .on_system(prepared("prefetch").system, context_of(prepared("prefetch")))
        .tier.slowdowns
    )
    assert slow.factor == 4.0


def test_a_lone_replica_has_none_to_spare():
    given = prepared("llm")
    alone = given.system.model_copy(update={"replicas": given.system.replicas[:1]})
    with pytest.raises(HandrailError, match="a fleet of one replica has none to spare"):
        SystemFault(fault="crash").on_system(alone, context_of(given))
