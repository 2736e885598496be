"""A study from config to report, on the bundled trace: made once, gone on with, reported."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest

from handrail.experiments.study.config import StudyConfig, bundled_config
from handrail.experiments.study.guard_study import check_folder, evaluate_study, write_files
from handrail.experiments.study.matrix import cells_of, groups_of
from handrail.experiments.study.realise import jittered, realise
from handrail.experiments.study.runner import available, make_bench, run_study
from handrail.experiments.study.store import Store
from handrail.traces.errors import HandrailError

SMALL = """
name: small
split: validation
min_p99_items: 300
min_p999_items: 100000
resamples: 100
blocks_of_time: 12
domains:
  llm:
    calibration_items: 300
    repeated: 1
    traces:
      bundled: {file: bundled, replicates: {kind: realisations, count: 2, items: 250}}
      elsewhere: {file: traces/llm/nowhere.csv}
    blocks:
      - {name: clean, role: clean, traces: [bundled, elsewhere], loads: [0.8], policies: [bundled], nulls: true}
      - {name: broken, role: policy, traces: [bundled], loads: [0.8], policies: ["sabotage:nan"]}
      - {name: shift, role: shift, traces: [bundled], loads: [0.8], stresses: ["load:1.5"], policies: [bundled]}
    frontier: {trace: bundled, load: 0.8, policies: [bundled], factors: [0.5]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    config, remarks = available(StudyConfig.from_yaml(SMALL, "small.yaml"), Path("nowhere"), None)
    bench = make_bench(config, Path("nowhere"), out)
    lines: list[str] = []
    replays = run_study(bench, 1, lambda progress: lines.append(progress.line()))
    content, files = evaluate_study(bench, ["handrail", "study", "guard"], remarks)
    write_files(out, files)
    return bench, out, replays, content, lines, remarks


def test_every_cell_is_there_with_its_arms(made):
    bench, _, replays, content, lines, remarks = made
    found = content["domains"]["llm"]
    assert [row["cell"] for row in found["table"]] == [cell.name for cell in cells_of(bench.config)]
    assert replays > 20
    assert "left" in lines[-1]
    assert remarks == ["llm/elsewhere is left out: traces/llm/nowhere.csv is not in nowhere"]
    assert {clause["verdict"] for clause in found["bar"]} <= {"met", "missed", "no verdict"}


def test_a_broken_policy_is_contained_and_fails_alone(made):
    found = made[3]["domains"]["llm"]
    row = next(r for r in found["M12"] if r["cell"].endswith("sabotage:nan"))
    assert row["unguarded"] is None
    assert row["guarded"] == pytest.approx(1.0)
    assert row["availability"] == 0.0
    assert row["noticed"] == row["replicates"] == 2


def test_nulls_stand_beside_the_guard(made):
    bench = made[0]
    group = next(g for g in groups_of(bench.config) if g.policies.get("bundled"))
    keys = {arm: bench.key(group.setting, 0, arm, "bundled", "validation") for arm in ("guarded", "random-switch")}
    guarded, switched = bench.store.facts(keys["guarded"]), bench.store.facts(keys["random-switch"])
    assert switched["availability"] == pytest.approx(guarded["guard"]["availability"], abs=0.1)


def test_a_repeated_run_has_the_same_log(made):
    assert [row["equal"] for row in made[3]["domains"]["llm"]["M11"]] == [True]


def test_nothing_is_replayed_twice_and_a_lost_run_is_made_again_alike(made):
    bench, out, _, content, _, remarks = made
    assert run_study(bench, 1) == 0
    before = (out / "study.json").read_bytes()
    group = next(g for g in groups_of(bench.config) if "bundled" in g.policies)
    key = bench.key(group.setting, 0, "guarded", "bundled", "validation")
    (bench.folder / f"{key}.npz").unlink()
    assert run_study(bench, 1) == 1
    _, files = evaluate_study(bench, content["command"], remarks)
    assert files["study.json"] == before


def test_files_of_the_folder(made):
    out = made[1]
    assert {p.name for p in out.iterdir()} >= {"report.md", "study.json", "timing.json", "cells-llm.png", "runs"}
    text = (out / "report.md").read_text()
    for number in range(1, 15):
        assert f"M{number}" in text
    assert "| asked | verdict | found |" in text
    assert json.loads((out / "study.json").read_text())["name"] == "small"
    assert not list(out.rglob("*.tmp"))


def test_audits_in_the_folder_are_taken_in(made):
    bench, out, _, _, _, remarks = made
    folder = out / "audits"
    folder.mkdir()
    precision, recall = ({"value": v, "low": v - 0.1, "high": 1.0} for v in (0.9, 0.8))
    audit = {"domain": "llm", "decisions": 12, "precision": precision, "recall": recall}
    check_folder(folder.parent)
    (folder / "llm-random.json").write_text(json.dumps(audit), encoding="utf-8")
    (folder / "cluster-random.json").write_text("{}", encoding="utf-8")
    content, files = evaluate_study(bench, ["handrail", "study", "guard"], remarks)
    (row,) = content["domains"]["llm"]["M5"]
    assert row["precision"] == {"estimate": 0.9, "low": pytest.approx(0.8), "high": 1.0}
    assert "| llm-random | 12 | 0.900 [0.800, 1.000] | 0.800 [0.700, 1.000] |" in files["report.md"].decode()
    (folder / "llm-random.json").write_text('{"decisions": 12}', encoding="utf-8")
    with pytest.raises(HandrailError, match=r"llm-random\.json: no audit with precision and recall"):
        evaluate_study(bench, ["handrail", "study", "guard"], remarks)
    (folder / "llm-random.json").write_text(json.dumps({**audit, "domain": "cluster"}), encoding="utf-8")
    with pytest.raises(HandrailError, match="is an audit of domain cluster; name it cluster-SOMETHING"):
        evaluate_study(bench, ["handrail", "study", "guard"], remarks)
    (folder / "llm-random.json").rename(folder / "mine.json")
    with pytest.raises(HandrailError, match=r"mine\.json: whose audit is this"):
        evaluate_study(bench, ["handrail", "study", "guard"], remarks)
    rmtree(folder)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(HandrailError, match="something else than a study"):
        check_folder(tmp_path)
    (tmp_path / "study.json").write_text('{"x": 1}')
    (tmp_path / "runs").mkdir()
    with pytest.raises(HandrailError, match="something else than a study"):
        check_folder(tmp_path)
    (tmp_path / "new" / "audits").mkdir(parents=True)
    check_folder(tmp_path / "new")


@pytest.mark.parametrize("name", ["guard_study_quick", "guard_study_full"])
def test_bundled_configs_are_understood(name):
    config = bundled_config(name)
    kept, _ = available(config, Path("nowhere"), None)
    assert set(kept.domains) == {"llm", "cluster", "prefetch"}
    assert config.split == "test"
    for study in config.domains.values():
        roles = {block.role for block in study.blocks}
        assert roles >= {"clean", "shift", "system", "sensor", "policy", "adversary"}


def small(trace=(), block=(), **llm) -> str:
    """A study of one cell in JSON, which is YAML too, with some fields changed."""
    cell = {"name": "a", "role": "clean", "traces": ["a"], "policies": ["bundled"], **dict(block)}
    study = {"traces": {"a": {"file": "b", **dict(trace)}}, "blocks": [cell], **llm}
    return json.dumps({"name": "x", "domains": {"llm": study}})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "no valid YAML in line 1"),
        ("? [a, b]\n: 1\nname: x", "no valid YAML in line 1"),
        (small()[:-1] + ', "seeds": 1}', "seeds: Extra inputs"),
        ("name: x\ndomains: {}", "domains: Dictionary should have at least 1 item"),
        ("name: ../x\ndomains: {}", "name: String should match"),
        ("name: x\nname: y\ndomains: {}", "line 2: name stands there twice; remove one"),
        ("name: x\nbar: {pooled: .nan}\ndomains: {}", "bar.pooled: Input should be a finite number"),
        (small(block={"traces": ["c"]}), "no trace"),
        (small(block={"loads": [-1]}), "blocks.0.loads.0: Input should be greater than 0"),
        (small(trace={"scenario": {"gpus": 1}}), "scenario.gpus"),
        (small(trace={"rows": [9, 3], "validation_rows": [0, 3]}), "rows needs 0 <= first < last"),
        (small(learned=["c"]), "learned names c, which no block has"),
        (small(guard="no.yaml"), "guard: there is no file no.yaml"),
        (small(blocks=[]), "blocks: Tuple should have at least 1 item"),
    ],
)
def test_mistakes_in_a_config_are_named(text, complaint):
    with pytest.raises(HandrailError, match=complaint):
        StudyConfig.from_yaml(text, "study.yaml")


def test_windows_are_disjoint_and_realisations_differ():
    spec = bundled_config("guard_study_quick").domains["prefetch"].traces["bundled"]
    first, second = (realise("prefetch", spec, Path("nowhere"), "validation", None, k, 0) for k in (0, 1))
    assert len(first.trace) == len(second.trace)
    assert first.system == second.system
    assert not np.array_equal(first.trace.key, second.trace.key)
    with pytest.raises(HandrailError, match="windows"):
        realise("prefetch", spec, Path("nowhere"), "validation", None, 99, 0)


def test_a_jittered_replicate_keeps_order_and_items():
    spec = bundled_config("guard_study_quick").domains["prefetch"].traces["bundled"]
    prepared = realise("prefetch", spec, Path("nowhere"), "validation", None, 0, 0)
    moved = jittered(prepared, 1)
    assert np.array_equal(moved.trace.key, prepared.trace.key)
    assert (np.diff(moved.trace.arrival_s) >= 0).all()
    assert not np.array_equal(moved.trace.arrival_s, prepared.trace.arrival_s)


def test_a_store_gives_back_what_was_written_and_names_what_is_broken(tmp_path):
    store = Store(tmp_path / "runs")
    store.write("k", {"a": 1}, {"x": np.arange(3)}, {"wall_s": 1.0})
    facts, arrays = store.read("k")
    assert facts == {"a": 1}
    assert arrays["x"].tolist() == [0, 1, 2]
    assert store.timing("k") == {"wall_s": 1.0}
    (tmp_path / "runs" / "k.npz").write_bytes(b"torn")
    with pytest.raises(HandrailError, match="cannot be read"):
        store.read("k")
