"""The stress itself: names, composition, and that nothing differs before the onset."""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pytest
from stress_fakes import fallback, guard, named, prepared

from handrail.experiments.replay import replay
from handrail.experiments.scenarios import (
    NO_STRESS,
    LoadShift,
    SensorFault,
    Severities,
    SystemFault,
    compose,
    context_of,
    parse_stress,
    run_stressed,
    stress_names,
    stressed,
)
from handrail.policies.sabotage import KINDS
from handrail.traces import HandrailError

DOMAINS = ("llm", "cluster", "prefetch")
SHIFTS = ("load:1.5", "load:2", "load:0.5", "flash-crowd", "drift", "length-mix", "new-tenant", "phase-change")
FAULTS = {
    "llm": ("crash", "straggler", "cold-start", "kv-cut"),
    "cluster": ("crash", "straggler", "cold-start"),
    "prefetch": ("slow-tier",),
}
EVERYTHING = [(domain, text) for domain in DOMAINS for text in (*SHIFTS, *FAULTS[domain])]


@cache
def calmly(domain, policy="bundled"):
    return run(domain, "", policy)


def run(domain, text, policy="bundled", **options):
    given = prepared(domain)
    build = None if policy is None else named(given, policy)
    return run_stressed(given, parse_stress(text), fallback=fallback(given), policy=build, **options)


def same(one, other, before_s=np.inf):
    first, second = one.run.decisions, other.run.decisions
    n, m = int((first.now_s < before_s).sum()), int((second.now_s < before_s).sum())
    if n != m:
        return False
    columns = ("now_s", "item", "action")
    return all(np.array_equal(getattr(first, c)[:n], getattr(second, c)[:n]) for c in columns)


@pytest.mark.parametrize("text", stress_names())
def test_a_name_reads_back_to_its_stress(text):
    stress = parse_stress(text)
    assert stress.name == text
    assert parse_stress(stress.at(0.25, 0.5).name) == stress.at(0.25, 0.5) != stress
    assert pickle.loads(pickle.dumps(stress)) == stress
    assert {stress: 1}[parse_stress(text)] == 1


def test_parts_keep_their_order_and_their_times():
    stress = parse_stress("load:2+straggler@0.3-0.6+stale:policy@0.5")
    assert [part.name for part in stress.parts] == ["load:2", "straggler@0.3-0.6", "stale:policy@0.5-1"]
    assert (stress.onset, stress.end) == (0.3, 1.0)
    assert stress.kind == "composed"
    assert compose(stress, parse_stress("drift")).parts == (*stress.parts, *parse_stress("drift").parts)
    context = context_of(prepared("llm"))
    assert stress.window_s(context) == (context.at_s(0.3), context.at_s(1.0))
    assert compose(NO_STRESS, LoadShift()) == LoadShift()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("laod:2", "no stress is named 'laod'"),
        ("load", "load takes a factor"),
        ("load:0", "the factor must be above 0"),
        ("load:inf", "the factor must be above 0 and at most"),
        ("load:nan", "the factor must be above 0"),
        ("crash:2", "crash takes no setting"),
        ("stale", "states its reach, as in stale:policy"),
        ("stale:nobody", "states its reach"),
        ("policy:bad", "no such broken policy"),
        ("load:2@0.6-0.3", "0 <= onset < end <= 1"),
        ("load:2@x", "shares of the window"),
        ("load:2@nan-0.5", "0 <= onset < end <= 1"),
        ("crash+crash", "occurs twice"),
        ("load:2++crash", "no stress is named ''"),
    ],
)
def test_what_is_not_understood_says_so(text, says):
    with pytest.raises(HandrailError, match=says):
        parse_stress(text)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("policy", ["bundled", None])
def test_without_a_stress_a_run_is_what_replay_gives(domain, policy):
    given = prepared(domain)
    for text in ("", "none"):
        ours = run(domain, text, policy)
        build = fallback(given) if policy is None else named(given, policy)
        theirs = replay(given.system, given.trace, build, given.scenario.objective, measured=given.measured)
        assert np.array_equal(ours.run.decisions.action, theirs.decisions.action)
        assert np.array_equal(ours.run.results.finish_s, theirs.results.finish_s)
        assert ours.window_s is None
        assert ours.prepared is given


@pytest.mark.parametrize(("domain", "text"), EVERYTHING)
def test_nothing_differs_before_the_onset_and_something_after(domain, text):
    given = prepared(domain)
    calm, wild = calmly(domain), run(domain, text)
    onset_s, end_s = wild.window_s
    assert 0.0 < onset_s < end_s
    assert same(calm, wild, before_s=onset_s)
    before, after = calm.run.results, wild.run.results
    ended = np.asarray(before.finish_s) < onset_s
    n = int((given.trace.arrival_s < onset_s).sum())
    assert np.array_equal(np.asarray(before.finish_s)[:n][ended[:n]], np.asarray(after.finish_s)[:n][ended[:n]])
    if text != "kv-cut":  # these replicas have room to spare
        assert len(before.finish_s) != len(after.finish_s) or not np.array_equal(before.finish_s, after.finish_s)


def test_a_deep_kv_cut_is_felt():
    given = prepared("llm")
    deep = SystemFault(fault="kv-cut", severities=Severities(kv_kept=0.003))
    cut = run_stressed(given, deep, fallback=fallback(given))
    assert {c.share for c in cut.prepared.system.kv_cuts} == {0.003}
    assert len(cut.prepared.system.kv_cuts) == len(given.system.replicas)
    assert cut.run.results.finish_s.mean() > calmly("llm", None).run.results.finish_s.mean()


@pytest.mark.parametrize(("domain", "text"), EVERYTHING)
def test_the_seed_gives_the_stress_again_and_another_seed_another(domain, text):
    given, stress = prepared(domain), parse_stress(text)
    one, again, other = (stressed(given, stress, seed) for seed in (5, 5, 6))
    assert one.trace.content_hash == again.trace.content_hash
    assert one.system == again.system
    drawn = text in ("load:2", "drift", "new-tenant", "flash-crowd") or (text, domain) == ("phase-change", "prefetch")
    if drawn:
        assert one.trace.content_hash != other.trace.content_hash


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_part_draws_the_same_beside_another(domain):
    given = prepared(domain)
    alone = stressed(given, parse_stress("load:2")).trace
    late = "+policy:worst+outcomes-missing:all"
    assert stressed(given, parse_stress("load:2" + late)).trace.content_hash == alone.content_hash
    assert stressed(given, parse_stress("length-mix+load:2")).trace.content_hash != alone.content_hash


@pytest.mark.parametrize(
    ("domain", "text", "says"),
    [
        ("prefetch", "crash", "crash means nothing to domain prefetch.*there is slow-tier"),
        ("prefetch", "straggler", "straggler means nothing to domain prefetch.*there is slow-tier"),
        ("prefetch", "kv-cut", "only LLM replicas have a KV cache"),
        ("cluster", "slow-tier", "slow-tier means nothing to domain cluster.*there are crash, straggler, cold-start"),
        ("llm", "slow-tier", "there are crash, straggler, cold-start, kv-cut"),
    ],
)
def test_a_fault_without_meaning_names_the_domain_and_what_there_is(domain, text, says):
    with pytest.raises(HandrailError, match=says):
        stressed(prepared(domain), parse_stress(text))


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_policy_acts_within_its_window_and_is_contained(domain, kind):
    given = prepared(domain)
    calm = run(domain, "", guard=guard(given))
    wild = run(domain, f"policy:{kind}", guard=guard(given))
    assert same(calm, wild, before_s=wild.window_s[0])
    assert wild.run.failure is None
    assert wild.decider.availability <= calm.decider.availability or kind in ("constant", "flapping", "foreign")


@pytest.mark.parametrize("kind", ["raise", "hanging", "wrong-shape", "nan"])
def test_alone_a_policy_that_fails_ends_its_run_at_the_onset(kind):
    calm, wild = calmly("llm"), run("llm", f"policy:{kind}")
    assert wild.run.failure is not None
    assert wild.run.failure.at_decision == int((calm.run.decisions.now_s < wild.window_s[0]).sum())


def test_a_sensor_fault_needs_a_known_name():
    with pytest.raises(HandrailError, match="no sensor fault is named"):
        SensorFault(fault="blurred", reach="policy")
