"""``handrail --domain prefetch``: timeless replay, the cache's own scheme, policies, comparisons; and mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from access_fakes import accesses, write_csv

from handrail.experiments.cli import main
from handrail.traces import load_access_trace

LATENCY_KEYS = {"mean", "p50", "p90", "p95", "p99", "p999", "max"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def trace(tmp_path) -> str:
    return str(write_csv(tmp_path / "blocks.csv", accesses(600)))


@pytest.fixture
def tenants(tmp_path) -> str:
    return str(write_csv(tmp_path / "tenants.csv", accesses(600, tenants=True)))


def run(capfd, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capfd.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def replay(capfd, *arguments: str) -> dict:
    code, out, err = run(capfd, "replay", "--domain", "prefetch", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def lru_misses(keys: list[int], capacity: int) -> int:
    contents: dict[int, None] = {}
    missed = 0
    for key in keys:
        if key in contents:
            del contents[key]
        else:
            missed += 1
            if len(contents) == capacity:
                del contents[next(iter(contents))]
        contents[key] = None
    return missed


def test_timeless_counts_misses_without_prefetching_unless_a_prefetcher_is_named(capfd, trace):
    keys = load_access_trace(trace).key.tolist()
    content = replay(capfd, "--trace", trace, "--cache-objects", "40", "--timeless")
    assert content["accesses"] == 600
    assert content["misses"] == lru_misses(keys, 40)
    assert content["prefetches"] == 0
    assert content["decides"] == "none"
    assert content["lost"] == {"unfinished": 0}
    options = ["--trace", trace, "--cache-objects", "40", "--timeless", "--prefetcher"]
    ahead = replay(capfd, *options, "next-line")
    assert ahead["misses"] < content["misses"]
    assert ahead["prefetches"] == ahead["prefetches_by_end"]["issued"] > 0
    assert replay(capfd, *options, "none")["misses"] == content["misses"]


def test_timeless_takes_ids_as_they_are_and_fetches_what_nobody_saw(capfd, tmp_path):
    lengths = {"input_length": 1024, "output_length": 1}
    requests = [{"timestamp": 100 * k, **lengths, "hash_ids": [2 * k, 2 * k + 1]} for k in range(50)]
    path = tmp_path / "blocks.jsonl"
    path.write_text("\n".join(json.dumps(request) for request in requests))
    arguments = ["--trace", str(path), "--cache-objects", "30", "--prefetcher", "next-line"]
    timeless = replay(capfd, *arguments, "--timeless")
    assert timeless["misses"] == 1
    assert timeless["notes"] == ["ids: as in the trace", "backing tier: every id exists"]
    timed = replay(capfd, *arguments)
    assert timed["misses"] == 100
    assert timed["notes"][1] == "backing tier: only ids that were accessed before exist"


def test_a_prefetcher_decides_without_a_policy_and_without_a_controller(capfd, tenants):
    content = replay(capfd, "--trace", tenants, "--prefetcher", "obl", "--degree", "4")
    assert content["decides"] == content["standing"] == "obl:4"
    assert set(content["prefetches_by_arm"]) == {"obl:4"}
    assert set(content["access_s"]) == LATENCY_KEYS
    assert set(content["tenants"]) == {"scan", "popular"}
    assert set(content["tenants"]["scan"]["access_s"]) == LATENCY_KEYS
    assert content["load"]["utilisation"] == pytest.approx(0.6)
    steered = replay(capfd, "--trace", tenants, "--controller", "feedback")
    assert steered["decides"] == "obl under feedback"


def test_an_arm_as_a_policy_is_that_prefetcher(capfd, tenants):
    # The trace is a policy's for 600 accesses, and every decision is the same.
    cache = ["--trace", tenants, "--cache-objects", "60", "--eviction", "sieve"]
    native = replay(capfd, *cache, "--prefetcher", "next-line", "--degree", "8")
    policy = replay(capfd, *cache, "--policy", "next-line:8", "--every", "10")
    assert native["prefetches"] > 0
    for key in ("misses", "prefetches_by_end", "access_s", "tenants", "bytes"):
        assert policy[key] == native[key]


def test_without_a_prefetcher_a_policy_decides(capfd, tenants):
    content = replay(capfd, "--trace", tenants, "--every", "16")
    assert content["accesses"] == 600
    assert "decides" not in content
    assert content["standing"] == "obl:1 under hysteresis"
    assert content["notes"][0] == "standing scheme: obl:1 under hysteresis"
    code, out, _ = run(capfd, "replay", "--domain", "prefetch", "--trace", tenants, "--policy", "standing")
    assert code == 0
    for text in ("600 accesses under standing", "hit ratio: ", "popular: ", "note: backing tier: every id exists"):
        assert text in out


def test_a_policy_that_fails_says_where(capfd, trace):
    content = replay(capfd, "--trace", trace, "--policy", "sabotage:nan")
    assert content["failed"].startswith("illegal action nan")
    assert content["at_decision"] == 0


def test_a_native_replay_has_a_table(capfd, tenants):
    arguments = ["--trace", tenants, "--controller", "hysteresis", "--eviction", "arc"]
    code, out, _ = run(capfd, "replay", "--domain", "prefetch", *arguments)
    assert code == 0
    for text in ("under arc under obl:1 under hysteresis", "demand misses use 0.6 -> 0.6", "tier utilisation: "):
        assert text in out


def test_in_a_closed_loop_accesses_follow_each_other(capfd, tenants):
    base = ["--trace", tenants, "--prefetcher", "none"]
    one = replay(capfd, *base, "--closed", "1")
    four = replay(capfd, *base, "--closed", "4")
    assert one["measured_accesses"] == 600
    assert one["load"]["utilisation"] is None
    assert one["utilisation"] < four["utilisation"]
    assert one["access_s"]["mean"] < four["access_s"]["mean"]
    part = replay(capfd, *base, "--closed", "1", "--split", "test")
    assert part["measured_accesses"] == part["accesses"] < 200


def test_paced_accesses_come_at_their_times_unless_too_many_are_under_way(capfd, trace):
    base = ["--trace", trace, "--prefetcher", "none", "--tier-load", "1.5"]
    plain, wide, narrow = (replay(capfd, *base, *pace) for pace in ([], ["--paced", "600"], ["--paced", "2"]))
    assert wide["access_s"] == plain["access_s"]
    assert narrow["access_s"]["p99"] < 0.5 * plain["access_s"]["p99"]
    assert narrow["measured_accesses"] == 600
    assert narrow["load"]["utilisation"] == pytest.approx(1.5)


def test_the_tier_is_as_it_is_asked_for(capfd, trace):
    tier = ["--tier-latency", "0.02", "--tier-service", "0.0001", "--tier-bandwidth", "1e9"]
    content = replay(capfd, "--trace", trace, *tier, "--prefetcher", "none")
    assert 0.02 < content["access_s"]["p99"] < 0.03
    assert replay(capfd, "--trace", trace, "--tier-load", "0.2", "--prefetcher", "none")["load"][
        "utilisation"
    ] == pytest.approx(0.2)
    loaded = replay(capfd, "--trace", trace, "--load", "0.9", "--prefetcher", "none")["load"]
    assert (loaded["method"], loaded["target_load"]) == ("compress", 0.9)
    assert loaded["utilisation"] == pytest.approx(0.9)
    faster = replay(capfd, "--trace", trace, "--rate", "0.5", "--prefetcher", "none")["load"]
    assert faster["utilisation"] == pytest.approx(0.3)


def test_ids_are_permuted_and_backing_is_kept_to_what_was_seen_where_asked(capfd, trace):
    base = ["--trace", trace, "--prefetcher", "next-line"]
    plain = replay(capfd, *base)
    permuted = replay(capfd, *base, "--permute")
    assert plain["coverage"] > 0.4 > 0.2 > permuted["coverage"]
    assert permuted["notes"][0] == "ids: permuted, so neighbours say nothing"
    assert plain["notes"][0] == replay(capfd, *base, "--raw-ids")["notes"][0] == "ids: as in the trace"
    seen = replay(capfd, *base, "--backing", "seen")
    assert seen["coverage"] < 0.1
    assert seen["notes"][1] == "backing tier: only ids that were accessed before exist"


def test_a_cache_of_bytes(capfd, trace):
    keys = load_access_trace(trace).key.tolist()
    content = replay(capfd, "--trace", trace, "--cache-bytes", str(40 * 4096), "--timeless")
    assert content["misses"] == lru_misses(keys, 40)
    assert content["cache"] == "163,840 bytes under lru"


def test_columns_are_mapped(capfd, tmp_path):
    (tmp_path / "own.csv").write_text("when,block\n0,5\n1,6\n2,5\n3,7\n")
    columns = ["--map", "arrival_s=when", "--map", "key=block"]
    content = replay(capfd, "--trace", "own.csv", *columns, "--cache-objects", "2", "--timeless")
    assert (content["accesses"], content["misses"]) == (4, 3)


def compare(capfd, *arguments: str) -> dict:
    code, out, err = run(capfd, "compare", "--domain", "prefetch", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_compare_and_the_command_that_repeats_it(capfd, tenants, tmp_path):
    options = ["--cache-objects", "50", "--eviction", "clock", "--prefetcher", "stride"]
    options += ["--controller", "feedback", "--tier-load", "0.4", "--tier-queue", "demand-first", "--every", "8"]
    options += ["--one-for-all", "--backing", "all", "--slo-miss", "3", "--raw-ids", "--seed", "7"]
    first = compare(capfd, "--trace", tenants, "--policy", "accuracy", "--placebo", "1", *options, "--out", "one")
    assert first["standing"] == "stride under feedback"
    assert first["ratio"]["guarded"]["access_s"]["p999"] > 0
    assert first["guarded"]["availability"] is not None
    assert "placebo" in first
    written = json.loads((tmp_path / "one" / "run.json").read_bytes())
    command = written["command"]
    assert command[:6] == ["handrail", "compare", "--domain", "prefetch", "--trace", "tenants.csv"]
    assert not written["cache"]["per_tenant"]
    assert written["cache"]["every_accesses"] == 8
    code, _, err = run(capfd, *command[1:], "--out", "two")
    assert code == 0, err
    for name in ("metrics.json", "run.json", "figure.png", "results-guarded.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_compare_has_a_table(capfd, tenants):
    code, text, err = run(capfd, "compare", "--domain", "prefetch", "--trace", tenants, "--policy", "none")
    assert code == 0, err
    shown = ("access mean, s", "access p99.9, s", "hit ratio", "coverage", "accuracy", "timeliness", "pollution")
    shown += ("fetched over demand alone", "tier utilisation", "queueing delay", "access latency by tenant", "popular")
    for label in shown:
        assert label in text


def test_decisions_come_by_the_clock_where_asked(capfd, trace, tmp_path):
    compare(capfd, "--trace", trace, "--policy", "none", "--every-seconds", "0.25", "--out", "run")
    cache = json.loads((tmp_path / "run" / "run.json").read_bytes())["cache"]
    assert (cache["every_accesses"], cache["every_s"]) == (None, 0.25)


def test_a_menu_of_ones_own(capfd, trace, tmp_path):
    content = compare(
        capfd,
        "--trace",
        trace,
        "--policy",
        "stride:3",
        "--menu",
        "none, obl, stride:3",
        "--fallback",
        "none",
        "--out",
        "m",
    )
    assert content["fallback_policy"] == "none"
    run_json = json.loads((tmp_path / "m" / "run.json").read_bytes())
    assert run_json["cache"]["menu"] == ["none", "obl:1", "stride:3"]


MISTAKES = [
    (["replay", "--prefetcher", "obl", "--policy", "none"], "--prefetcher and --policy both say what decides"),
    (["replay", "--controller", "fixed", "--policy", "none"], "--controller and --policy both say what decides"),
    (["replay", "--prefetcher", "psychic"], "--prefetcher: Input should be 'none', 'next-line'"),
    (["replay", "--eviction", "mru"], "--eviction: Input should be 'lru'"),
    (["replay", "--controller", "pid"], "--controller: Input should be 'fixed'"),
    (["replay", "--backing", "some"], "--backing: Input should be 'all' or 'seen'"),
    (["replay", "--tier-queue", "lifo"], "--tier-queue: Input should be 'fifo'"),
    (["replay", "--degree", "4"], "--degree is that of a prefetcher; add --prefetcher NAME"),
    (["replay", "--prefetcher", "obl", "--degree", "65"], "--degree: Input should be less than or equal to 64"),
    (["replay", "--cache-objects", "0"], "--cache-objects"),
    (["replay", "--cache-share", "1.5"], "--cache-share: Input should be less than or equal to 1"),
    (["replay", "--cache-share", "0.1", "--cache-bytes", "9"], "each say how large the cache is"),
    (["replay", "--tier-load", "0"], "--tier-load: Input should be greater than 0"),
    (["replay", "--tier-bandwidth", "0"], "--tier-bandwidth: Input should be greater than 0"),
    (["replay", "--tier-latency", "-1"], "--tier-latency: Input should be greater than or equal to 0"),
    (
        ["replay", "--tier-bandwidth", "1e9", "--tier-load", "0.5"],
        "--tier-bandwidth and --tier-load exclude each other",
    ),
    (["replay", "--every", "8", "--every-seconds", "1"], "--every and --every-seconds exclude each other"),
    (["replay", "--slo-miss", "0"], "--slo-miss: Input should be a positive number"),
    (["replay", "--slo-miss", "nan"], "--slo-miss: Input should be a positive number"),
    (["replay", "--menu", "obl,stride"], "menu: the menu's arms must be distinct, and none among them"),
    (["replay", "--menu", "none,stride:x"], "arm 'stride:x' is not none, NAME or NAME:DEGREE"),
    (["replay", "--menu", "none,stride:4"], "--menu lacks obl:1, which the standing scheme (obl:1 under hysteresis)"),
    (["replay", "--policy", "stride:3"], "the menu has no arm stride:3"),
    (["replay", "--timeless", "--rate", "2"], "--rate has no meaning with --timeless"),
    (["replay", "--timeless", "--closed", "2"], "--timeless and --closed exclude each other"),
    (["replay", "--timeless", "--permute"], "--permute and --timeless"),
    (["replay", "--timeless", "--backing", "seen"], "--backing seen and --timeless"),
    (["replay", "--timeless", "--every-seconds", "1"], "--every-seconds has no meaning with --timeless"),
    (["replay", "--paced", "2", "--closed", "2"], "--paced and --closed exclude each other"),
    (["replay", "--closed", "2", "--load", "0.5"], "--load has no meaning with --closed"),
    (["compare", "--timeless"], "--timeless goes with replay"),
    (["compare", "--fallback", "lifo"], "no heuristic is named 'lifo'; choose one of standing"),
    (["compare", "--policy", "round-robin"], "--policy round-robin: no such policy folder"),
    (["compare", "--replicas", "h100:1"], "--replicas is an option of --domain llm"),
    (["compare", "--placement", "fgd"], "--placement is an option of --domain cluster"),
    (
        ["compare", "--load-by", "squeeze", "--rate", "2"],
        "--load-by: Input should be 'superpose', 'thin' or 'compress'",
    ),
    (["compare", "--block-bytes", "512"], "block_bytes is for"),
    (["train", "--algo", "dqn", "--out", "p"], "--algo 'dqn' is unknown"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, trace, arguments, says):
    code, out, err = run(capfd, *arguments, "--domain", "prefetch", "--trace", trace)
    assert code == 2
    assert out == ""
    assert err.startswith("handrail: error: ")
    assert err.count("\n") == 1
    assert says in err


def test_an_option_of_caches_is_none_of_llms(capfd):
    code, _, err = run(capfd, "replay", "--cache-objects", "3")
    assert code == 2
    assert "--cache-objects is an option of --domain prefetch" in err
    assert "--per-tenant is an option of --domain prefetch" in run(capfd, "compare", "--one-for-all")[2]


def test_a_trace_without_a_duration_sizes_no_tier(capfd, tmp_path):
    path = write_csv(tmp_path / "once.csv", accesses(20).replace(arrival_s=np.zeros(20)))
    code, _, err = run(capfd, "replay", "--domain", "prefetch", "--trace", str(path))
    assert code == 2
    assert "no tier can be sized by it" in err
    assert replay(capfd, "--trace", str(path), "--timeless", "--cache-objects", "9")["accesses"] == 20


REFERENCE_ROWS = [("LRU", "none", "1000"), ("S3FIFO", "none", "1000"), ("LRU", "OBL", "5000")]


@pytest.mark.parametrize(("algorithm", "prefetcher", "objects"), REFERENCE_ROWS)
def test_reference_counts_come_out_exactly(capfd, shared_data: Path, algorithm: str, prefetcher: str, objects: str):
    with (shared_data / "reference" / "cache_miss_counts.csv").open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["mode"] == "ignore_obj_size=True"
            and (row["algo"].upper(), row["prefetcher"], row["cache_size"]) == (algorithm, prefetcher, objects)
        ]
    assert rows
    trace = str(shared_data / "traces" / "cache" / "cloudPhysicsIO.oracleGeneral.bin")
    options = ["--cache-objects", objects, "--eviction", algorithm.lower(), "--prefetcher", prefetcher.lower()]
    content = replay(capfd, "--trace", trace, *options, "--timeless")
    assert content["accesses"] == int(rows[0]["n_req"])
    assert content["misses"] == int(rows[0]["n_miss"])
    assert content["prefetches"] == int(rows[0]["n_prefetch_inserts"] or 0)
