"""The domain ``prefetch``: which cache a trace gets, its standing scheme and menu, and comparisons on it."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from access_fakes import accesses

from handrail.envs.prefetch import CacheConfig, Outcome
from handrail.envs.prefetch.default_cache import default_cache, tier_utilisation
from handrail.envs.prefetch.metrics import Objective
from handrail.experiments.compare import compare
from handrail.experiments.domains.prefetch import DOMAIN
from handrail.experiments.domains.prefetch_system import (
    PrefetchScenario,
    describe_cache,
    describe_standing,
    oracles,
    setting_notes,
)
from handrail.experiments.guarding import guard_thresholds
from handrail.experiments.report.table import comparison_lines, comparison_table
from handrail.experiments.scenario import prepare
from handrail.traces import HandrailError


def cache(trace=None, **fields) -> CacheConfig:
    return DOMAIN.system(PrefetchScenario(**fields), accesses() if trace is None else trace)


def test_a_trace_gets_a_tenth_of_its_objects_and_a_tier_that_demand_uses_three_fifths_of():
    trace = accesses()
    config = cache(trace)
    assert config == default_cache(trace, ghost=True)
    assert config.objects == trace.distinct_objects // 10
    assert tier_utilisation(trace, config) == pytest.approx(0.6)
    assert (config.prefetcher, config.degree, config.controller) == ("obl", 1, "hysteresis")
    assert config.ghost
    assert describe_cache(config) == f"{config.objects} objects under lru"


def test_options_size_cache_and_tier():
    trace = accesses()
    assert cache(trace, cache_share=0.5).objects == trace.distinct_objects // 2
    assert cache(trace, cache_objects=7).objects == 7
    config = cache(trace, cache_bytes=80_000, tier_load=0.3, eviction="sieve")
    assert (config.size_bytes, config.objects) == (80_000, None)
    assert tier_utilisation(trace, config) == pytest.approx(0.3)
    assert describe_cache(config) == "80,000 bytes under sieve"
    config = cache(trace, tier_latency_s=0.5, tier_service_s=0.25, tier_bandwidth=1e6, tier_queue="bounded")
    tier = config.tier
    assert (tier.latency_s, tier.service_s, tier.bandwidth_bytes_per_s, tier.discipline) == (0.5, 0.25, 1e6, "bounded")
    assert cache(trace, every=9).every_accesses == 9
    config = cache(trace, every_seconds=0.5)
    assert (config.every_accesses, config.every_s) == (None, 0.5)
    for pace in ("closed", "paced"):
        config = cache(trace, **{pace: 3})
        assert (config.demand, config.window) == (pace, 3)


def test_tenants_have_decisions_of_their_own_where_there_are_some():
    alone, many = accesses(), accesses(tenants=True)
    assert not cache(alone).per_tenant
    assert cache(many).per_tenant
    assert not cache(many, per_tenant=False).per_tenant


def test_the_menu_holds_what_the_standing_scheme_may_take():
    plain = cache()
    assert cache(prefetcher="stride", degree=16, controller="fixed").menu == plain.menu
    config = cache(prefetcher="spp", degree=2)
    assert config.menu == (*plain.menu, "spp:2")
    assert DOMAIN.layout(config).n_replicas == len(plain.menu) + 1
    assert set(cache(controller="feedback").menu) - set(plain.menu) == {"obl:2", "obl:4", "obl:16"}
    assert cache(menu=("none", "obl:1")).menu == ("none", "obl:1")
    with pytest.raises(HandrailError, match=r"--menu lacks stride:4, which the standing scheme \(stride:4 under hyst"):
        cache(menu=("none", "obl:1"), prefetcher="stride", degree=4)


def test_the_standing_scheme_in_words():
    assert describe_standing(cache()) == "obl:1 under hysteresis"
    assert describe_standing(cache(prefetcher="stride", degree=4, controller="fixed")) == "stride:4"
    assert describe_standing(cache(controller="feedback")) == "obl under feedback"
    assert describe_standing(cache(controller="bandit", menu=("none", "obl:1"))) == "bandit over 2 arms"
    assert describe_standing(cache(prefetcher="none")) == "none"


def test_rivals_are_the_rules_and_the_menus_arms():
    config = cache(menu=("none", "obl:1", "stride:3"))
    rivals = DOMAIN.rivals(config)
    assert rivals[-3:] == config.menu
    assert {"standing", "accuracy", "random"} <= set(rivals)
    assert "obl:8" not in rivals
    for name in rivals:
        assert DOMAIN.make_heuristic(name, config).name == name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cache_objects": 4, "cache_share": 0.2}, "--cache-objects and --cache-share each say how large"),
        ({"closed": 2, "timeless": True}, "--timeless and --closed exclude each other"),
        ({"every": 2, "every_seconds": 1.0}, "--every and --every-seconds exclude each other"),
        ({"tier_service_s": 0.1, "tier_load": 0.5}, "--tier-service and --tier-load exclude each other"),
        ({"timeless": True, "load": 0.5}, "--load has no meaning with --timeless"),
        ({"timeless": True, "tier_latency_s": 0.5}, "--tier-latency has no meaning with --timeless"),
        ({"closed": 2, "rate": 2.0}, "--rate has no meaning with --closed"),
        ({"fallback": "lifo"}, "no heuristic is named 'lifo'; choose one of standing,"),
        ({"menu": ("none", "warp:2")}, "menu: 'warp' is no prefetcher"),
        ({"menu": ("obl", "stride")}, "menu: the menu's arms must be distinct, and none among them"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(HandrailError, match=message):
        prepare(accesses(), PrefetchScenario(**fields))


def test_an_arm_that_no_default_names_is_a_fallback_too():
    prepared = prepare(accesses(), PrefetchScenario(menu=("none", "obl:1", "stride:3"), fallback="stride:3"))
    assert DOMAIN.make_heuristic("stride:3", prepared.system).choose(np.zeros(1)) == 2


def test_what_does_not_come_at_the_traces_times_is_measured_whole():
    trace = accesses(4000)
    assert prepare(trace, PrefetchScenario()).measured.start_s == pytest.approx(0.1 * trace.duration_s, rel=0.1)
    for fields in ({"closed": 2}, {"paced": 2}, {"timeless": True}):
        measured = prepare(trace, PrefetchScenario(**fields)).measured
        assert (measured.start_s, measured.end_s) == (0.0, math.inf)


def test_an_interval_is_judged_by_its_slowest_access():
    config = cache()
    judge = DOMAIN.judge(Objective(slo_misses=2.0))
    limit_s = DOMAIN.headline_limit(Objective(slo_misses=2.0), config)
    assert limit_s == 2 * config.unloaded_miss_s
    worst = (limit_s, 1.01 * limit_s, math.inf)
    verdicts = [judge(Outcome(4, 0, 0.5, worst_s, 64, config.unloaded_miss_s)) for worst_s in worst]
    assert [v.violated for v in verdicts] == [False, True, True]
    assert {(v.decision, v.value) for v in verdicts} == {(4, 0.5)}


def test_notes_say_what_ids_and_backing_are_taken_to_be():
    trace = accesses()
    assert setting_notes(cache(trace), trace) == ["ids: as in the trace", "backing tier: every id exists"]
    seen = trace.replace(backing="seen", notes={"permuted_by_seed": 0, "spread_s": 1.0})
    assert setting_notes(cache(seen), seen) == [
        "ids: permuted, so neighbours say nothing",
        "backing tier: only ids that were accessed before exist",
        "times: recorded to 1 s, and spread within that",
    ]
    assert setting_notes(cache(seen, backing="all"), seen)[1] == "backing tier: every id exists"
    assert setting_notes(cache(seen, timeless=True), seen)[1:] == ["backing tier: every id exists"]


def test_what_knows_the_future_is_an_oracle():
    assert oracles(cache()) == ()
    assert oracles(cache(eviction="belady")) == ("belady",)
    assert oracles(cache(prefetcher="oracle")) == ("oracle",)
    trace = accesses()
    config = cache(trace, eviction="belady", menu=("none", "obl:1", "oracle:4"))
    assert setting_notes(config, trace)[-1] == "oracle: belady and oracle know the future"


@pytest.fixture(scope="module")
def comparison():
    scenario = PrefetchScenario(cache_objects=80, every=8, eviction="fifo", tier_load=0.5)
    return compare(accesses(1500, tenants=True), scenario, "sabotage:random", placebo=1)


def test_a_comparison_has_every_arm_and_table(comparison):
    summary = comparison.summary
    for name in ("fallback", "unguarded", "guarded"):
        entry = summary[name]
        assert entry["accesses"] == entry["measured_accesses"] == 1500
        assert set(entry["tenants"]) == {"scan", "popular"}
        counts = entry["prefetches_by_end"]
        assert counts["issued"] == entry["prefetches"] == sum(counts.values()) - counts["issued"]
    fallback, unguarded = (summary[name]["access_s"]["mean"] for name in ("fallback", "unguarded"))
    assert summary["ratio"]["unguarded"]["access_s"]["mean"] == pytest.approx(unguarded / fallback)
    assert summary["fallback"]["prefetches"] < 0.9 * summary["unguarded"]["prefetches"]
    assert 0 < summary["guarded"]["availability"] < 1
    assert sum(summary["guarded"]["interventions"].values()) > 0
    assert summary["placebo"]["ratio"]["access_s"]["p99"]["low"] > 0
    assert summary["cache"] == "80 objects under fifo"
    assert summary["standing"] == "obl:1 under hysteresis"
    assert summary["oracle"] is False
    assert summary["load"]["utilisation"] == pytest.approx(0.5)
    assert summary["notes"][:2] == ["standing scheme: obl:1 under hysteresis", "ids: as in the trace"]
    assert comparison_lines(summary, DOMAIN)[0].startswith("gain kept behind the guard: access mean ")
    table, tenants, *_ = comparison_table(summary, DOMAIN).renderables
    labels = list(table.columns[0].cells)
    assert labels[0] == "access mean, s"
    assert {"hit ratio", "coverage", "accuracy", "timeliness", "pollution", "tier utilisation"} <= set(labels)
    assert set(tenants.columns[0].cells) == {"scan", "popular"}


def test_the_run_folder_holds_the_cache_and_the_accesses(comparison):
    files = comparison.files()
    run = json.loads(files["run.json"])
    assert run["domain"] == "prefetch"
    assert run["cache"]["objects"] == 80
    assert run["cache"]["per_tenant"]
    assert run["trace"]["accesses"] == 1500
    breaker = next(check for check in run["guard"]["checks"] if check["check"] == "breaker")
    assert len(breaker["shares"]) == len(breaker["loads"]) > 0
    assert breaker["shares"] != [0.1]
    table = pq.read_table(pa.BufferReader(files["results-guarded.parquet"]))
    assert {"arrival_s", "access_s", "outcome", "tenant", "key", "measured"} <= set(table.column_names)
    assert len(table) == 1500
    assert files["figure.png"].startswith(b"\x89PNG")


def test_a_policys_run_counts_the_misses_of_a_shadow_cache(comparison):
    prepared = comparison.prepared
    simulator = DOMAIN.simulator(prepared.system, prepared.trace, 0, None)
    point = simulator.advance()
    while point is not None:
        simulator.apply(0)
        point = simulator.advance()
    assert simulator.ghost_misses > 0


def test_a_guard_has_a_budget_only_where_a_shadow_cache_counts_misses():
    def checks(config) -> set[str]:
        return {check.check for check in guard_thresholds("none", config).checks}

    usual = checks(cache())
    assert "budget" in usual
    for config in (
        cache(cache_bytes=100_000),
        cache(every_seconds=1.0),
        cache(eviction="belady"),
        cache(prefetcher="amp"),
        cache(controller="bandit", menu=("none", "obl:1", "best-offset:2")),
    ):
        assert checks(config) == usual - {"budget"}
    prepared = prepare(accesses(), PrefetchScenario(cache_bytes=100_000))
    assert DOMAIN.notes(prepared)[-1] == "a guard has no budget of misses here: the cache counts bytes"
    assert cache(cache_bytes=100_000).ghost
    assert not cache(eviction="belady").ghost
    assert not cache(prefetcher="amp").ghost


@pytest.mark.parametrize("fields", [{"prefetcher": "amp"}, {"controller": "bandit"}, {"cache_bytes": 400_000}])
def test_any_standing_scheme_stands_behind_a_guard(fields):
    summary = compare(accesses(400), PrefetchScenario(every=16, **fields), "none").summary
    assert summary["guarded"]["accesses"] == 400
    assert summary["standing"] == describe_standing(cache(accesses(400), **fields))


def test_a_comparison_with_an_oracle_is_marked():
    scenario = PrefetchScenario(cache_objects=80, eviction="belady", every=32)
    summary = compare(accesses(300), scenario, "none").summary
    assert summary["oracle"] is True
    headers = [str(column.header) for column in comparison_table(summary, DOMAIN).renderables[0].columns]
    assert headers[1] == "fallback\nstanding (oracle)"
