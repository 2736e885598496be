"""The command line: every mistake ends in one line and exit code 2, and JSON has its shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from handrail.experiments.cli import main

LATENCY_KEYS = {"mean", "p50", "p90", "p95", "p99", "p999", "max"}
METRICS = {"ttft_s", "tbt_s", "e2e_s", "tpot_s", "queueing_s"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def trace_file(tmp_path):
    rng = np.random.default_rng(1)
    rows = zip(np.cumsum(rng.exponential(0.1, 400)), rng.integers(20, 900, 400), rng.integers(1, 90, 400), strict=True)
    path = tmp_path / "my trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{a:.6f},{p},{o}\n" for a, p, o in rows))
    return str(path)


def run(capfd, *arguments):
    """Exit code, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


MISTAKES = [
    (["frobnicate"], "No such command 'frobnicate'"),
    (["compare", "--frobnicate"], "No such option"),
    (["compare", "extra"], "unexpected extra argument"),
    (["compare", "--seed", "x"], "--seed"),
    (["compare", "--seed", "-1"], "--seed: Input should be greater than or equal to 0, not -1"),
    (["compare", "--load", "high"], "--load"),
    (["compare", "--load", "0"], "--load: Input should be greater than 0"),
    (["compare", "--load", "nan"], "--load: Input should be"),
    (["compare", "--rate", "-2"], "--rate: Input should be greater than 0"),
    (["compare", "--rate", "2", "--load", "0.5"], "--rate and --load both set the arrival rate"),
    (["compare", "--policy", "random", "--rate", "2", "--load-by", "thin"], "thinning cannot raise the rate"),
    (["compare", "--load-by", "squeeze"], "--load-by: Input should be 'superpose', 'thin' or 'compress'"),
    (["compare", "--split", "tset"], "--split: Input should be 'all', 'train', 'validation' or 'test'"),
    (["compare", "--window", "20:10"], "--window '20:10' is not START:END"),
    (["compare", "--policy", "random", "--window", "900000:900001"], "no request arrives in --window"),
    (["compare", "--replicas", "h100:two"], "is not GPU:COUNT"),
    (["compare", "--replicas", "tpu:2"], "no profile for 'tpu'"),
    (["compare", "--replicas", ""], "--replicas"),
    (["compare", "--preset", "vllm-v2"], "--preset: Input should be 'vllm-v1' or 'vllm-v0'"),
    (["compare", "--policy", "no/such/folder"], "no/such/folder"),
    (["compare", "--policy", "sabotage:all"], "sabotage:all"),
    (["compare", "--fallback", "fastest"], "no heuristic is named 'fastest'"),
    (["compare", "--slo-ttft", "0"], "--slo-ttft: Input should be greater than 0"),
    (["compare", "--slo-tbt", "inf"], "--slo-tbt: Input should be a finite number"),
    (["compare", "--telemetry-delay", "-1"], "--telemetry-delay: Input should be greater than or equal to 0"),
    (["compare", "--placebo", "-1"], "--placebo"),
    (["compare", "--workers", "0"], "--workers"),
    (["compare", "--domain", "weather"], "--domain 'weather' is unknown; choose one of llm, cluster, prefetch"),
    (["compare", "--trace", "no such file.csv"], "no such file.csv"),
    (["compare", "--failures", "keep"], "--failures 'keep': choose drop or retry"),
    (["compare", "--map", "arrival_s"], "--map 'arrival_s' is not FIELD=COLUMN"),
    (["replay", "--trace", "no such file.csv"], "no such file.csv"),
    (["replay", "--policy", "none-such"], "none-such"),
    (["replay", "--split", "tset"], "--split"),
    (["replay", "--load", "-0.5"], "--load: Input should be greater than 0"),
    (["replay", "--replicas", "h100:1000000000000000000000"], "at most 4,096 replicas"),
    (["replay", "--map", "arrival_s=a", "--map", "arrival_s=b"], "given twice"),
    (["replay", "--load-by", "superpose"], "neither --rate nor --load"),
    (["replay", "--rate", "1e-12"], "a rate factor must lie within"),
    (["replay", "--trace", ""], "--trace is empty"),
    (["replay", "--policy", ""], "--policy ''"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, arguments, says):
    for more in ([], ["--json"]) if arguments[0] in ("compare", "replay") else ([],):
        code, out, err = run(capfd, *arguments, *more)
        assert code == 2
        assert out == ""
        assert err.startswith("handrail: error: ")
        assert err.count("\n") == 1
        assert says in err
        assert "Traceback" not in err


def test_a_file_in_the_place_of_the_run_folder_is_refused_before_any_work(capfd, tmp_path, trace_file):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    code, _, err = run(capfd, "compare", "--trace", trace_file, "--policy", "round-robin", "--out", str(mine))
    assert code == 2
    assert f"--out {mine}: the folder holds something else" in err
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_a_broken_trace_is_named_as_given(capfd, tmp_path):
    (tmp_path / "bad one.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\nsoon,10,5\n")
    code, _, err = run(capfd, "replay", "--trace", "bad one.csv", "--policy", "round-robin", "--json")
    assert code == 2
    assert err.startswith("handrail: error: bad one.csv: ")
    assert "arrival_s" in err
    assert err.count("\n") == 1


def test_replay_json_has_the_agreed_shape(capfd, trace_file):
    code, out, _ = run(
        capfd, "replay", "--trace", trace_file, "--replicas", "h100:1", "--policy", "round-robin", "--json"
    )
    assert code == 0
    content = json.loads(out)
    assert content["requests"] == 400
    assert content["measured_requests"] == 400
    assert content["load"]["method"] == "as-is"
    assert content["lost"] == {"rejected": 0, "unfinished": 0}
    assert content["simulate_s"] > 0
    assert content["peak_rss_mb"] > 0
    for metric in METRICS:
        assert set(content[metric]) == LATENCY_KEYS


def test_rate_is_a_factor_on_the_arrival_rate_of_the_same_requests(capfd, trace_file):
    code, out, _ = run(capfd, "replay", "--trace", trace_file, "--rate", "0.5", "--policy", "random", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["requests"] == 400
    assert content["load"]["method"] == "compress"
    assert content["load"]["after"]["rate_rps"] == pytest.approx(content["load"]["before"]["rate_rps"] / 2)


def test_a_failing_policy_in_replay_is_an_entry_and_no_error(capfd, trace_file):
    code, out, _ = run(capfd, "replay", "--trace", trace_file, "--policy", "sabotage:nan", "--json")
    assert code == 0
    assert json.loads(out)["at_decision"] == 0


def test_compare_json_has_the_agreed_shape_and_names_the_run_folder(capfd, tmp_path, trace_file):
    out_folder = tmp_path / "out"
    code, out, err = run(
        capfd, "compare", "--trace", trace_file, "--policy", "least-requests", "--out", str(out_folder), "--json"
    )
    assert code == 0
    assert err == ""
    content = json.loads(out)
    for name in ("fallback", "unguarded", "guarded"):
        assert METRICS | {"requests", "simulate_s", "peak_rss_mb", "lost"} <= set(content[name])
    assert {"availability", "interventions"} <= set(content["guarded"])
    assert content["out"] == str(out_folder)
    assert (out_folder / "figure.png").is_file()
    stored = json.loads((out_folder / "metrics.json").read_bytes())
    assert "simulate_s" not in stored["fallback"]
    assert stored["guarded"]["ttft_s"] == content["guarded"]["ttft_s"]


def test_compare_prints_one_table_and_names_the_figure(capfd, trace_file):
    code, out, _ = run(capfd, "compare", "--trace", trace_file, "--policy", "least-requests", "--rate", "2")
    assert code == 0
    for text in (
        "TTFT p99.9",
        "TBT p99",
        "E2E p50",
        "SLO attainment",
        "goodput",
        "decided by the policy",
        "CV",
        "Fano",
    ):
        assert text in out
    figure = next(line for line in out.splitlines() if line.startswith("figure: ")).removeprefix("figure: ")
    assert os.path.isfile(figure)


def test_no_command_shows_the_help_and_a_version_is_a_version(capfd):
    code, out, _ = run(capfd)
    assert code == 2
    assert "compare" in out
    code, out, _ = run(capfd, "--version")
    assert code == 0
    assert out.startswith("handrail ")
    code, out, _ = run(capfd, "compare", "--help")
    assert code == 0
    assert "--load-by" in out


def test_help_starts_without_the_heavy_libraries():
    script = (
        "import sys\n"
        "from handrail.experiments.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('pandas', 'matplotlib', 'gymnasium', 'torch') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
