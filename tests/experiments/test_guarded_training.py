"""``handrail train --guarded`` and the other remedies, from a trace to a policy folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from experiment_fakes import small_trace

from handrail.envs.llm_serving import layout_for
from handrail.experiments.cli import main
from handrail.experiments.domains.cluster_system import ClusterScenario
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.domains.prefetch_system import PrefetchScenario
from handrail.experiments.finalists import TrainingOptions
from handrail.experiments.guarded_training import check_options, learns_from, ready
from handrail.experiments.guarding import GUARD_FILE, guard_thresholds
from handrail.experiments.report.training_table import during_lines
from handrail.experiments.scenario import cut_window, prepare
from handrail.experiments.training import train_policy
from handrail.policies import load_policy
from handrail.policies.guards import GuardConfig
from handrail.policies.learning.tally import TrainingTally
from handrail.traces import load_access_trace, load_job_trace
from handrail.traces.errors import HandrailError

NEEDS_TORCH = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)
TRACE = small_trace(900, rate_rps=12.0)
SCENARIO = LLMScenario(replicas="h100:1,a100:1", rate=2.0, load_by="superpose")
SEARCH = {"iterations": 1, "population": 3, "elites": 2, "windows": 1, "per_iteration": 1, "window_items": 400}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def train(out: Path, **options: object):
    return train_policy(TRACE, SCENARIO, TrainingOptions(**{"steps": 600, **options}), out)


@NEEDS_TORCH
@pytest.mark.parametrize("algorithm", ["ppo", "dqn", "ppo-lagrangian", "bc-residual"])
def test_every_step_by_step_algorithm_trains_behind_the_guard(algorithm: str, tmp_path: Path):
    report = train(tmp_path / "p", algorithm=algorithm, guarded=True)
    during = report.during
    assert during is not None
    assert during["decisions"] >= 600
    assert during["outcomes"] > 400
    assert during["interventions"] > 0
    assert during["asked"] + during["fallback_ruled"] == during["decisions"]
    assert during["interventions"] <= during["asked"]
    assert list(report.test)[:2] == ["learned", "learned, guarded"]
    card = load_policy(tmp_path / "p", layout_for(2)).card
    assert card.metrics["training"] == during
    assert "ttft_s.p99.guarded" in card.metrics["test"]
    assert card.training.algorithm == algorithm
    assert card.training.settings["guarded"] is True
    assert card.training.settings["learn_from"] == ("executed" if algorithm == "dqn" else "proposed")
    guard = GuardConfig.from_json((tmp_path / "p" / GUARD_FILE).read_text())
    assert guard_thresholds(str(tmp_path / "p"), SCENARIO.fleet()) == guard
    text = "\n".join(during_lines(during, guarded=True))
    assert "missed while training (behind the guard): " in text
    assert "per 1,000; the fallback alone" in text
    assert ("multiplier at the end" in text) == (algorithm == "ppo-lagrangian")
    assert ("the clone chose as the fallback" in text) == (algorithm == "bc-residual")


@NEEDS_TORCH
def test_the_same_training_gives_the_same_folder(tmp_path: Path):
    """What a training that was broken off left behind changes nothing: step by step algorithms begin anew."""
    left = tmp_path / "two" / "training"
    left.mkdir(parents=True)
    (left / "events.out.tfevents.0").write_bytes(b"half of a training")
    for name in ("one", "two"):
        train(tmp_path / name, algorithm="ppo", guarded=True, learn_from="executed")
    for file in ("policy.json", "policy.safetensors", GUARD_FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@NEEDS_TORCH
def test_without_a_guard_everything_is_counted_and_no_guard_is_written(tmp_path: Path):
    report = train(tmp_path / "p", algorithm="ppo")
    assert report.during is not None
    assert report.during["outcomes"] > 400
    assert report.during["interventions"] == report.during["fallback_ruled"] == 0
    assert "learned, guarded" not in report.test
    assert not (tmp_path / "p" / GUARD_FILE).exists()
    assert "(no guard)" in during_lines(report.during, guarded=False)[0]


def test_what_the_guard_did_is_told_in_numbers_that_add_up():
    tally = TrainingTally()
    tally.note(
        [
            {"judged": 1, "cost": 1.0, "asked": True, "intervened": False},
            {"judged": 1, "cost": 0.0, "asked": True, "intervened": True},
            {"asked": False, "intervened": True},
            {"asked": False, "intervened": False},  # the fallback ruled, and chose as the agent would have
            {"absent": True},
        ]
    )
    assert (tally.decisions, tally.asked, tally.interventions, tally.fallback_ruled) == (4, 2, 1, 2)
    _, told = during_lines(tally.to_json(), guarded=True)
    assert told == "of 4 decisions the guard weighed 2 and replaced 1 of these; at the other 2 the fallback ruled"


def test_a_search_scores_and_reports_behind_the_guard_and_resumes_behind_the_same_only(tmp_path: Path):
    alone = train(tmp_path / "alone", algorithm="cem", **SEARCH)
    guarded = train(tmp_path / "guarded", algorithm="cem", guarded=True, **SEARCH)
    assert guarded.during is None
    assert guarded.test["learned, guarded"] != guarded.test["learned"] or guarded.differs_from_fallback < 0.5
    first = json.loads((tmp_path / "guarded" / "training" / "search.json").read_text())
    other = json.loads((tmp_path / "alone" / "training" / "search.json").read_text())
    assert first["iterations"] != other["iterations"]
    assert alone.validation_scores["start"] == guarded.validation_scores["start"] == 0.0
    again = train(tmp_path / "guarded", algorithm="cem", guarded=True, **SEARCH)
    assert again == guarded
    with pytest.raises(HandrailError, match="another fingerprint; delete it to start over"):
        train(tmp_path / "guarded", algorithm="cem", **SEARCH)
    stricter = GuardConfig.for_routing().only("contract")
    with pytest.raises(HandrailError, match="another fingerprint; delete it to start over"):
        train(tmp_path / "guarded", algorithm="cem", guarded=True, guard=stricter, **SEARCH)


@NEEDS_TORCH
@pytest.mark.parametrize("domain", ["cluster", "prefetch"])
def test_the_other_domains_train_behind_their_guards(domain: str, tmp_path: Path):
    if domain == "cluster":
        trace, scenario = load_job_trace("bundled-cluster").head(1_500), ClusterScenario(split="train")
        given = TrainingOptions(algorithm="maskable-ppo", guarded=True, steps=600)
    else:
        trace, scenario = load_access_trace("bundled-cache").head(8_000), PrefetchScenario(split="train", paced=4)
        given = TrainingOptions(algorithm="ppo", guarded=True, learn_from="executed", steps=600)
    part, window = prepare(trace, scenario), cut_window(trace, scenario)
    readied, tally = ready(given, window, part, lambda words: None), TrainingTally()
    assert readied.fallback_share is not None
    finalists = part.domain.finalists(
        readied.options,
        window,
        part,
        tmp_path,
        fingerprint="",
        seed=0,
        say=lambda words: None,
        on_progress=lambda done, total: None,
        tally=tally,
    )
    assert finalists
    assert tally.decisions >= 600
    assert tally.judged > 100
    assert tally.asked > 0
    assert (tally.interventions > 0) or domain == "cluster"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "ppo", "learn_from": "executed"}, "--learn-from needs --guarded"),
        ({"algorithm": "ppo", "guard": GuardConfig()}, "--guard needs --guarded"),
        ({"algorithm": "bandit", "guarded": True}, "use --algo ppo or --algo cem"),
        ({"algorithm": "cem", "guarded": True, "learn_from": "proposed"}, "credits no action"),
        ({"algorithm": "ppo", "violation_limit": 0.1}, "--violation-limit is for --algo ppo-lagrangian, not for ppo"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(options: dict, message: str):
    with pytest.raises(HandrailError, match=message):
        check_options(TrainingOptions(**options))


def test_each_algorithm_has_its_own_default_of_what_is_learned_from():
    assert learns_from(TrainingOptions(algorithm="ppo", guarded=True)) == "proposed"
    assert learns_from(TrainingOptions(algorithm="dqn", guarded=True)) == "executed"
    assert learns_from(TrainingOptions(algorithm="dqn", guarded=True, learn_from="proposed")) == "proposed"
    assert learns_from(TrainingOptions(algorithm="dqn")) == "proposed"


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    rows = np.column_stack([TRACE.arrival_s, TRACE.prompt_tokens, TRACE.output_tokens])
    path = tmp_path / "small.csv"
    lines = "".join(f"{arrival:.6f},{prompt:.0f},{output:.0f}\n" for arrival, prompt, output in rows)
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + lines)
    return path


def test_the_command_line_takes_a_guard_from_a_file(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    guard = tmp_path / "mine.json"
    guard.write_text(GuardConfig.for_routing().only("contract", "cost-margin").to_json())
    arguments = ["--trace", str(trace_file), "--out", str(tmp_path / "p"), "--replicas", "h100:1,a100:1"]
    arguments += ["--rate", "2", "--load-by", "superpose", "--workers", "1", "--guarded", "--guard", str(guard)]
    arguments += ["--iterations", "1", "--population", "3", "--elites", "2", "--windows", "1", "--per-iteration", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code in (0, None)
    assert report["guarded"] is True
    assert GuardConfig.from_json((tmp_path / "p" / GUARD_FILE).read_text()) == GuardConfig.from_json(guard.read_text())
    card = json.loads((tmp_path / "p" / "policy.json").read_text())
    assert "--guarded --guard mine.json" in card["training"]["command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guarded", "--learn-from", "luck"], "--learn-from 'luck' is unknown; choose proposed or executed"),
        (["--learn-from", "executed"], "--learn-from needs --guarded"),
        (["--guarded", "--guard", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--algo", "ppo-lagrangian", "--violation-limit", "1.5"], "--violation-limit must be at least 0 and below 1"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    arguments: list[str], message: str, trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--trace", str(trace_file), "--out", str(tmp_path / "p"), "--replicas", "h100:1,a100:1", "--rate", "2"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *common, *arguments])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
