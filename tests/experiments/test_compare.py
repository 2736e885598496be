"""Comparisons: what the arms share, what the summary says, and that workers change nothing."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from experiment_fakes import small_trace

from handrail.experiments.arms import Arm, run_arm
from handrail.experiments.compare import compare, gain_kept, ratios
from handrail.experiments.domains.llm import DOMAIN, LLMScenario
from handrail.experiments.report.run_folder import dump_json
from handrail.experiments.report.table import comparison_lines, comparison_table
from handrail.experiments.scenario import parse_window, prepare
from handrail.policies.guards import GuardConfig
from handrail.traces import HandrailError

METRICS = DOMAIN.report.metrics
SCENARIO = LLMScenario(load=0.8, replicas="h100:1,a100:1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return compare(small_trace(2500), SCENARIO, "power-of-two", placebo=2)


def entry(p99, lost=0):
    latency = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "p999", "max"), p99)
    return {"ttft_s": latency, "tbt_s": latency, "e2e_s": latency, "lost": {"rejected": lost, "unfinished": 0}}


def test_gain_kept_is_the_share_of_the_gain_that_the_guard_leaves():
    assert gain_kept(entry(2.0), entry(1.0), entry(1.25), "ttft_s", "p99") == 0.75
    assert gain_kept(entry(2.0), entry(2.0), entry(1.0), "ttft_s", "p99") is None
    assert gain_kept(entry(2.0), {"failed": "raised", "at_decision": 1}, entry(2.0), "ttft_s", "p99") is None
    assert gain_kept(entry(2.0), entry(1.0), entry(None), "ttft_s", "p99") is None


def test_ratios_are_null_where_a_quantile_is_lost():
    assert ratios(entry(3.0), entry(2.0), METRICS)["tbt_s"]["p99"] == 1.5
    assert ratios(entry(None), entry(2.0), METRICS)["tbt_s"]["p99"] is None
    assert ratios(entry(3.0), entry(None), METRICS)["tbt_s"]["p99"] is None
    assert ratios({"failed": "x", "at_decision": 0}, entry(2.0), METRICS) is None


def test_all_arms_see_the_same_requests(comparison):
    tables = [pq.read_table(pa.BufferReader(arm.results_parquet)) for arm in comparison.arms]
    assert len(tables) == 5
    for table in tables[1:]:
        for column in ("arrival_s", "prompt_tokens", "output_tokens", "measured"):
            assert table[column].equals(tables[0][column])
    assert not tables[1]["replica"].equals(tables[0]["replica"])


def test_the_summary_has_each_arm_as_replay_gives_it_and_what_compares_them(comparison):
    summary = comparison.summary
    for name in ("fallback", "unguarded", "guarded"):
        assert summary[name]["requests"] == len(comparison.prepared.trace)
        assert set(summary[name]["ttft_s"]) == {"mean", "p50", "p90", "p95", "p99", "p999", "max"}
        assert summary[name]["lost"] == {"rejected": 0, "unfinished": 0}
    assert 0 <= summary["guarded"]["availability"] <= 1
    stopped = sum(summary["guarded"]["interventions"].values())
    n = len(comparison.prepared.trace)
    decided = pq.read_table(pa.BufferReader(comparison.arms[2].decisions_parquet))
    assert len(decided) == pytest.approx(n, abs=n * 0.2)
    assert stopped == pytest.approx((1 - summary["guarded"]["availability"]) * len(decided))
    assert summary["unguarded"]["differs_from_fallback"] > 0.05
    assert summary["placebo"]["runs"] == 2
    spread = summary["placebo"]["ratio"]["ttft_s"]["p99"]
    assert spread["low"] <= spread["high"]
    assert 0.7 <= summary["load"]["utilisation"] <= 0.9


def test_the_fallback_as_policy_changes_nothing_and_is_never_stopped():
    summary = compare(small_trace(), SCENARIO, "expected-drain").summary
    assert summary["unguarded"]["differs_from_fallback"] == 0.0
    assert summary["ratio"]["unguarded"]["ttft_s"]["p999"] == 1.0
    assert summary["ratio"]["guarded"]["e2e_s"]["p999"] == 1.0
    assert summary["guarded"]["availability"] == 1.0
    assert summary["guarded"]["interventions"] == {}


def test_behind_a_guard_the_fallback_has_the_tie_breaks_that_its_placebo_has():
    prepared = prepare(small_trace(400), SCENARIO)

    def replicas(*arm):
        return pq.read_table(pa.BufferReader(run_arm(prepared, Arm(*arm)).results_parquet))["replica"]

    behind = [replicas("guarded", "sabotage:nan", GuardConfig.for_routing(), tie_seed) for tie_seed in (None, 1)]
    assert behind[0] == replicas("fallback", "")
    assert behind[1] == replicas("placebo-1", "", None, 1)
    assert behind[0] != behind[1]


@pytest.mark.parametrize("kind", ["nan", "raise"])
def test_a_policy_that_fails_ends_its_own_run_alone(kind):
    summary = compare(small_trace(), SCENARIO, f"sabotage:{kind}").summary
    assert set(summary["unguarded"]) == {"failed", "at_decision"}
    assert summary["ratio"]["unguarded"] is None
    assert summary["guarded"]["lost"] == summary["fallback"]["lost"]
    assert any("the unguarded run ended at decision" in line for line in comparison_lines(summary, DOMAIN))
    comparison_table(summary, DOMAIN)


def test_workers_and_a_warm_cache_change_no_byte(monkeypatch):
    monkeypatch.setattr("handrail.experiments.compare.SMALL_TRACE", 0)
    files = [compare(small_trace(), SCENARIO, "power-of-two", workers=workers).files() for workers in (1, 2)]
    timing = [f.pop("timing.json") for f in files]
    assert files[0] == files[1]
    assert set(json.loads(timing[0])) == {"fallback", "unguarded", "guarded"}


def test_a_spoiled_cache_is_measured_anew(tmp_path):
    first = compare(small_trace(), SCENARIO, "round-robin").summary
    entries = list((tmp_path / "cache").rglob("*.json"))
    assert len(entries) == 1
    entries[0].write_text('{"items": 0')
    assert compare(small_trace(), SCENARIO, "round-robin").summary == first


def test_the_run_folder_holds_everything_and_no_path(comparison, tmp_path):
    files = comparison.files()
    assert set(files) == {
        "run.json",
        "metrics.json",
        "timing.json",
        "figure.png",
        "decisions-guarded.parquet",
        *(f"results-{name}.parquet" for name in ("fallback", "unguarded", "guarded", "placebo-1", "placebo-2")),
    }
    assert files["metrics.json"] == dump_json(comparison.summary)
    assert files["figure.png"].startswith(b"\x89PNG")
    assert b"Software" not in files["figure.png"]
    run = json.loads(files["run.json"])
    assert run["trace"]["replayed_sha256"] == comparison.prepared.trace.content_hash
    assert [replica["gpu"] for replica in run["fleet"]] == ["h100", "a100"]
    assert run["config"]["seed"] == 0
    assert str(tmp_path.parent).encode() not in files["run.json"]


def test_a_change_of_any_input_changes_the_default_name(comparison):
    other = compare(small_trace(2500), SCENARIO.model_copy(update={"seed": 1}), "power-of-two", placebo=2)
    assert comparison.default_name.startswith("compare-small-")
    assert other.default_name != comparison.default_name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fallback": "fastest"}, "choose one of random, round-robin"),
        ({"rate": 2.0}, "--rate and --load both set"),
        ({"load": -1.0}, "--load must be a positive share"),
        ({"replicas": "h100:0"}, "is not GPU:COUNT"),
        ({"window_s": (1e6, 2e6)}, "no request arrives in --window"),
    ],
)
def test_scenarios_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(HandrailError, match=message):
        compare(small_trace(), SCENARIO.model_copy(update=changes), "round-robin")


@pytest.mark.parametrize(
    ("text", "window"), [("10:20", (10.0, 20.0)), (":20", (0.0, 20.0)), ("10:", (10.0, float("inf")))]
)
def test_windows_are_read(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "10", "20:10", "10:10", "-5:10", "a:b", "1:2:3", "nan:3", "0:nan"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(HandrailError, match="START:END"):
        parse_window(text)
