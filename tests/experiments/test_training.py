"""``handrail train`` end to end on a small trace: what it writes, prints, repeats, resumes and refuses."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from handrail.envs.llm_serving import layout_for
from handrail.experiments.cli import main
from handrail.experiments.cli.app import app
from handrail.experiments.domains import DOMAINS, domain_named
from handrail.experiments.domains.cluster_training import ENVIRONMENTS as CLUSTER_ENVIRONMENTS
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.domains.llm_training import ENVIRONMENTS
from handrail.experiments.finalists import TrainingOptions, check_given
from handrail.experiments.training import TrainingReport, train_policy
from handrail.policies import HEURISTICS, load_policy
from handrail.policies.learning import dqn, maskable_ppo, ppo, prefetch_ppo
from handrail.traces import RequestTrace, load_trace
from handrail.traces.errors import HandrailError

SEARCH = ["--iterations", "2", "--population", "5", "--elites", "2", "--windows", "2", "--per-iteration", "1"]
FLEET = ["--replicas", "h100:1,a100:1", "--rate", "2", "--load-by", "superpose", "--workers", "1"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    n = 1000
    rows = zip(np.cumsum(rng.exponential(0.3, n)), rng.integers(100, 3000, n), rng.integers(1, 300, n), strict=True)
    path = tmp_path / "small.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{a:.6f},{p},{o}\n" for a, p, o in rows))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_a_search_writes_a_policy_that_loads_and_says_what_it_is(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "policy"
    code, text, _ = run(capsys, "--trace", str(trace_file), "--out", str(out), *SEARCH, *FLEET, "--json")
    assert code == 0
    report = json.loads(text)
    assert list(report["test"]) == ["learned", *HEURISTICS]
    assert set(report["validation_scores"]) == {"start", "mean-1", "mean-2", "best"}
    assert report["validation_scores"]["start"] == 0.0
    assert report["validation_scores"][report["chosen"]] == min(report["validation_scores"].values())
    assert 0 <= report["differs_from_fallback"] <= 1

    policy = load_policy(out, layout_for(5))
    card = policy.card
    assert card.training.trace == "small.csv"
    assert card.training.trace_sha256 == load_trace(str(trace_file)).content_hash
    assert card.training.algorithm == "cem"
    assert card.training.settings["population"] == 5
    assert card.training.command.startswith("handrail train --trace small.csv --algo cem")
    assert card.metrics["test"]["ttft_s.p99"] == report["test"]["learned"]["ttft_s"]["p99"]
    assert card.metrics["test"]["ttft_s.p99.fallback"] == report["test"]["expected-drain"]["ttft_s"]["p99"]
    assert str(tmp_path) not in (out / "policy.json").read_text()
    assert (out / "training" / "search.json").is_file()
    if find_spec("tensorboard"):
        assert list((out / "training").glob("events.out.tfevents.*"))


def test_the_table_names_every_heuristic_and_the_share_that_differs(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, text, _ = run(capsys, "--trace", str(trace_file), "--out", str(tmp_path / "p"), *SEARCH, *FLEET)
    assert code == 0
    for name in HEURISTICS:
        assert name in text
    assert "decisions that differ from the fallback's: " in text
    assert "expected-drain (fallback)" in text
    assert f"policy folder: {tmp_path / 'p'}" in text


def test_two_workers_write_what_one_writes_and_a_second_run_resumes(trace_file: Path, tmp_path: Path):
    trace = load_trace(str(trace_file))
    scenario = LLMScenario(replicas="h100:1,a100:1", rate=2.0, load_by="superpose")
    options = {"iterations": 2, "population": 4, "elites": 2, "windows": 2, "per_iteration": 1}

    def train(name: str, **changes: object) -> TrainingReport:
        return train_policy(trace, scenario, TrainingOptions(**{**options, **changes}), tmp_path / name)

    one, two = train("one"), train("two", workers=2)
    train("resumed", iterations=1)
    resumed = train("resumed")
    assert one == two == resumed
    for file in ("policy.json", "policy.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "resumed" / file).read_bytes()
    with pytest.raises(HandrailError, match=r"another .*delete it to start over"):
        train("resumed", seed=1)


@pytest.mark.skipif(not (find_spec("torch") and find_spec("stable_baselines3")), reason="needs torch and SB3")
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_ppo_and_dqn_write_a_policy_for_their_fleet(
    algorithm: str, trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "policy"
    arguments = ["--trace", str(trace_file), "--out", str(out), "--algo", algorithm, "--steps", "600", *FLEET, "--json"]
    code, text, _ = run(capsys, *arguments)
    assert code == 0
    report = json.loads(text)
    assert report["chosen"].startswith("step-")
    policy = load_policy(out, layout_for(2))
    assert policy.card.architecture.kind == "mlp"
    assert policy.card.training.settings["steps"] == 600
    with pytest.raises(HandrailError, match="the fleet has 4"):
        load_policy(out, layout_for(4))
    assert list((out / "training").glob("events.out.tfevents.*"))


def test_a_copy_of_the_fallback_is_called_one():
    report = TrainingReport("start", {"start": 0.0}, 0.0, {}, "expected-drain", "", "")
    assert len(report.notes) == 2
    assert "a copy of the fallback expected-drain" in report.notes[1]
    assert TrainingReport("best", {"best": -0.1}, 0.2, {}, "expected-drain", "", "").notes == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo", "sarsa"], "--algo 'sarsa' is unknown; choose one of cem, ppo, dqn"),
        (["--hidden", "8,x"], "--hidden '8,x'"),
        (["--population", "4", "--elites", "4"], "--elites must be at least 2 and below --population"),
        (["--fallback", "luck"], "no heuristic is named 'luck'"),
        (["--trace", "/nowhere.csv"], "/nowhere.csv"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    arguments: list[str], message: str, trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--trace", str(trace_file), "--out", str(tmp_path / "p"), *SEARCH, *FLEET]
    code, text, errors = run(capsys, *common, *arguments)
    assert code == 2
    assert text == ""
    assert message in errors
    assert errors.count("\n") == 1


SEARCH_FLAGS = ["iterations", "population", "elites", "windows", "per-iteration", "window-requests"]
UNUSED = [
    *(("llm", algo, flag, "cem") for algo in ("ppo", "dqn", "ppo-lagrangian", "bc-residual") for flag in SEARCH_FLAGS),
    *(("llm", algo, "hidden", "cem") for algo in ("ppo", "dqn", "ppo-lagrangian", "bc-residual")),
    ("llm", "cem", "steps", "ppo, dqn, ppo-lagrangian or bc-residual"),
    *(("cluster", "maskable-ppo", flag, "cem") for flag in SEARCH_FLAGS),
    ("cluster", "cem", "steps", "maskable-ppo"),
    *(("prefetch", algo, flag, "cem") for algo in ("bandit", "ppo") for flag in SEARCH_FLAGS),
    ("prefetch", "bandit", "hidden", "ppo or cem"),
    ("prefetch", "cem", "steps", "bandit or ppo"),
]


@pytest.mark.parametrize(("domain", "algorithm", "flag", "users"), UNUSED)
def test_an_option_that_the_algorithm_has_no_use_for_is_refused(domain: str, algorithm: str, flag: str, users: str):
    with pytest.raises(HandrailError) as told:
        check_given(domain_named(domain), algorithm, [flag])
    assert str(told.value) == f"--{flag} goes with --algo {users}, not {algorithm}; leave it out"


def test_every_other_option_is_let_through():
    refused = {case[:3] for case in UNUSED}
    for domain in map(domain_named, DOMAINS):
        for algorithm in domain.algorithms:
            used = [f for f in [*SEARCH_FLAGS, "hidden", "steps"] if (domain.name, algorithm, f) not in refused]
            assert len(used) >= 1
            check_given(domain, algorithm, used)


@pytest.mark.parametrize(
    ("domain", "arguments", "says"),
    [
        ("llm", ["--algo", "ppo", "--hidden", "4"], "--hidden goes with --algo cem, not ppo; leave it out"),
        ("llm", ["--algo", "dqn", "--iterations", "12"], "--iterations goes with --algo cem, not dqn"),
        ("llm", ["--algo", "ppo", "--per-iteration", "2"], "--per-iteration goes with --algo cem, not ppo"),
        ("llm", ["--steps", "300"], "--steps goes with --algo ppo, dqn, ppo-lagrangian or bc-residual, not cem"),
        ("cluster", ["--elites", "5"], "--elites goes with --algo cem, not maskable-ppo; leave it out"),
        ("prefetch", ["--hidden", "4"], "--hidden goes with --algo ppo or cem, not bandit; leave it out"),
    ],
)
def test_unused_options_are_refused_before_any_work_even_with_their_default(
    domain: str, arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, text, errors = run(capsys, "--domain", domain, "--out", str(tmp_path / "p"), *arguments)
    assert (code, text, errors.count("\n")) == (2, "", 1)
    assert says in errors
    assert not (tmp_path / "p").exists()


def test_the_help_says_how_steps_are_rounded_and_what_the_defaults_are():
    told = {name: str(option.help) for name, option in _options_of_train().items()}
    whole = [
        (ppo.SETTINGS["n_steps"] * ENVIRONMENTS["ppo"], "steps for ppo (llm), ppo-lagrangian, bc-residual"),
        (maskable_ppo.SETTINGS["n_steps"] * CLUSTER_ENVIRONMENTS, "and maskable-ppo"),
        (prefetch_ppo.SETTINGS["n_steps"] * prefetch_ppo.PrefetchEpisodes().simulators, "a tenant for ppo (prefetch)"),
        (dqn.SETTINGS["train_freq"] * ENVIRONMENTS["dqn"], "for dqn"),
    ]
    assert len({ENVIRONMENTS[name] for name in ("ppo", "ppo-lagrangian", "bc-residual")}) == 1
    for number, words in whole:
        assert f"{number:,}" in told["steps"]
        assert words in told["steps"]
    assert "by default 500,000" in told["steps"]
    assert "by default 12," in told["window_requests"]


def _options_of_train() -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    return {parameter.name: parameter for parameter in command.commands["train"].params}


def test_out_that_is_a_file_is_refused_before_anything_runs(trace_file: Path, capsys: pytest.CaptureFixture[str]):
    code, _, errors = run(capsys, "--trace", str(trace_file), "--out", str(trace_file))
    assert code == 2
    assert "is a file; name a folder" in errors


def test_a_trace_too_short_for_three_parts_is_a_clear_error(tmp_path: Path):
    trace = RequestTrace(arrival_s=[0.0, 1.0], prompt_tokens=[10, 10], output_tokens=[5, 5], name="two")
    with pytest.raises(HandrailError, match="validation part holds no request"):
        train_policy(trace, LLMScenario(rate=1.0), TrainingOptions(), tmp_path / "p")
