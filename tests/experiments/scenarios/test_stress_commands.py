"""``--stress`` and ``--isolate`` of compare and replay, and the adversary's command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handrail.experiments.cli import main
from handrail.policies import bundled_folder
from handrail.policies.guards import GuardConfig


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def trace_file(tmp_path):
    rng = np.random.default_rng(1)
    n = 900
    rows = zip(np.cumsum(rng.exponential(0.1, n)), rng.integers(20, 900, n), rng.integers(1, 90, n), strict=True)
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{a:.6f},{p},{o}\n" for a, p, o in rows))
    return str(path)


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--quiet"])
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


LLM_POLICY = str(bundled_folder("llm"))
SMALL = ("--replicas", "h100:1,a100:1", "--rate", "1")


def test_compare_records_its_stress_and_repeats_it(capfd, trace_file):
    text = "load:2+stale:checks@0.3-0.6"
    for out in ("one", "two"):
        given = ("compare", "--trace", trace_file, "--policy", "power-of-two", *SMALL, "--stress", text, "--out", out)
        code, shown, _ = run(capfd, *given)
        assert code == 0
        assert f"under stress {text}" in shown
    first, second = ((name, json.loads(Path(f"{name}/run.json").read_text())) for name in ("one", "two"))
    entry = first[1]["stress"]
    assert entry["name"] == text
    assert [part["kind"] for part in entry["parts"]] == ["shift", "sensor"]
    assert entry["parts"][0]["window_s"][0] < entry["parts"][0]["window_s"][1]
    assert entry["severities"]["drift_factor"] == 1.6
    assert ["--stress", text] == first[1]["command"][-2:]
    assert first[1] == second[1]
    metrics = json.loads(Path("one/metrics.json").read_text())
    assert metrics["fallback"]["requests"] > 1000
    assert any(note.startswith(f"under stress {text}, from ") for note in metrics["notes"])
    assert Path("one/results-guarded.parquet").read_bytes() == Path("two/results-guarded.parquet").read_bytes()


def test_without_a_stress_nothing_is_said_of_it(capfd, trace_file):
    code, _, _ = run(capfd, "compare", "--trace", trace_file, "--policy", "random", *SMALL, "--out", "plain")
    assert code == 0
    told = json.loads(Path("plain/run.json").read_text())
    assert not {"stress", "isolation"} & set(told)


def test_replay_takes_a_stress_and_says_so(capfd, trace_file):
    calm, wild = (
        json.loads(
            run(capfd, "replay", "--trace", trace_file, "--policy", "expected-drain", *SMALL, "--json", *more)[1]
        )
        for more in ((), ("--stress", "crash@0.2-0.8"))
    )
    assert "stress" not in calm
    assert wild["stress"]["name"] == "crash@0.2-0.8"
    assert wild["ttft_s"]["p99"] > calm["ttft_s"]["p99"]


def test_a_policy_that_really_hangs_is_contained_and_said_not_to_be_reproducible(capfd, trace_file):
    given = (
        "compare",
        "--trace",
        trace_file,
        "--policy",
        "sabotage:hanging",
        *SMALL,
        "--isolate",
        "1",
        "--out",
        "hung",
    )
    code, _, _ = run(capfd, *given)
    assert code == 0
    told, metrics = (json.loads(Path(f"hung/{name}.json").read_text()) for name in ("run", "metrics"))
    assert told["isolation"] == {"timeout_s": 1.0, "reproducible": False}
    assert any("not reproducible" in note for note in metrics["notes"])
    assert "latency of inf" in metrics["unguarded"]["failed"]
    assert metrics["unguarded"]["at_decision"] == 100
    assert metrics["guarded"]["requests"] == 900
    assert set(metrics["guarded"]["interventions"]) & {"latency-over-budget", "latency-invalid"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stress", ""), "--stress is empty; name what goes wrong"),
        (("--stress", "laod:2"), "--stress: no stress is named 'laod'"),
        (("--stress", "slow-tier"), "slow-tier means nothing to domain llm"),
        (("--stress", "stale"), "--stress: stale: a sensor fault states its reach"),
        (("--isolate", "0"), "--isolate needs a number of seconds above 0"),
    ],
)
def test_mistakes_end_in_one_line(capfd, trace_file, arguments, says):
    for command in ("compare", "replay"):
        code, _, err = run(capfd, command, "--trace", trace_file, "--policy", "random", *SMALL, *arguments)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert says in err


def test_a_replay_without_a_policy_takes_no_stress(capfd, trace_file):
    code, _, err = run(capfd, "replay", "--domain", "cluster", "--discipline", "fcfs", "--stress", "load:2")
    assert code == 2
    assert "--stress acts on one replay under a policy" in err


def test_an_adversary_is_a_policy_folder_with_its_guard_and_resumes(capfd, trace_file):
    small = ("--population", "3", "--elites", "2", "--windows", "1", "--window-requests", "150", "--workers", "1")
    given = ("adversary", "--trace", trace_file, *SMALL, *small, "--out", "worst", "--json")
    code, _, _ = run(capfd, *given, "--generations", "1")
    assert code == 0
    code, out, _ = run(capfd, *given, "--generations", "2")
    report = json.loads(out)
    assert code == 0
    assert report["replays"] == 6
    assert len(report["generations"]) == 2
    assert report["ratio"] == max(report["generations"]) >= report["start_ratio"]
    card = json.loads(Path("worst/policy.json").read_text())
    settings = card["training"]["settings"]
    assert (settings["objective"], settings["generations"], settings["population"]) == ("guarded-tail-ratio", 2, 3)
    assert card["metrics"]["validation"]["guarded_tail_ratio"] == pytest.approx(report["ratio"])
    assert GuardConfig.from_json(Path("worst/guard.json").read_text()).checks
    fresh = run(capfd, *given[:-3], "--out", "again", "--json", "--generations", "2")
    assert json.loads(fresh[1])["generations"] == report["generations"]
    code, _, _ = run(capfd, "replay", "--trace", trace_file, *SMALL, "--policy", "worst")
    assert code == 0


@pytest.mark.parametrize(
    ("domain", "policy", "says"),
    [
        ("llm", "no_such_policy", "--policy no_such_policy: no such policy folder, and no policy of that name"),
        ("cluster", "no_such_policy", "--policy no_such_policy: no such policy folder, and no policy of that name"),
        ("prefetch", "no_such_policy", "--policy no_such_policy: no such policy folder, and no policy of that name"),
        ("cluster", LLM_POLICY, "field domain is 'llm', but it is asked to decide in domain 'cluster'"),
        ("prefetch", LLM_POLICY, "field domain is 'llm', but it is asked to decide in domain 'prefetch'"),
    ],
)
def test_an_adversary_attacks_a_policy_that_there_is(capfd, domain, policy, says):
    small = ("--generations", "1", "--population", "3", "--elites", "2", "--windows", "1", "--window-requests", "150")
    code, shown, err = run(capfd, "adversary", "--domain", domain, "--policy", policy, *small, "--out", "worst")
    assert (code, shown, len(err.strip().splitlines())) == (2, "", 1)
    assert says in err
    assert policy in err
    assert not Path("worst").exists()
