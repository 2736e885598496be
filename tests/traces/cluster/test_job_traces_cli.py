"""``handrail traces --domain cluster``: output for people and machines, one line and exit code 2 for a mistake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from job_samples import GENERIC, NODES, SWF

from handrail.experiments.cli import main
from handrail.traces import load_job_trace
from handrail.traces.cluster.load import BUNDLED_PATH


def run(capsys: pytest.CaptureFixture[str], command: str, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["traces", command, "--domain", "cluster", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_list(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert [(row["name"], row["here"]) for row in json.loads(out)["traces"]] == [("bundled-cluster", True)]


def test_describe_one_and_two(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "given.swf"
    path.write_text(SWF)
    code, out, err = run(capsys, "describe", path, "--json")
    one = json.loads(out)
    assert (code, err) == (0, "")
    assert one["trace"] == str(path)
    assert one["jobs"] == 3
    assert one["machine_processors"] == 128
    assert one["estimates"]["below"] == pytest.approx(0.5)
    two = json.loads(run(capsys, "describe", "bundled-cluster", BUNDLED_PATH, "--json", "-q")[1])
    assert two["a"]["content_hash"] == two["b"]["content_hash"]
    assert two["distances"]["run_s"]["ks"] == 0
    shown = run(capsys, "describe", "bundled-cluster", path)[1]
    for text in ("mean size in use", "left out", "tenant vc-1,", "size 5-8,", "largest 1 %", "p99.9 B/A", "popular"):
        assert text in shown
    endless = tmp_path / "endless.csv"
    endless.write_text(GENERIC)
    assert "never leave" in run(capsys, "describe", endless)[1]


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path, nodes = tmp_path / "given.csv", tmp_path / "nodes.csv"
    path.write_text(GENERIC.replace("arrival_s", "ts").replace("2.0,", "1.0,"))
    nodes.write_text(NODES)
    assert run(capsys, "describe", path, "--map", "arrival_s=ts", "--sort", "--json")[0] == 0
    for arguments, message in (
        ((path, "--map", "arrival_s=ts"), "--sort"),
        ((path, "--map", "arrival_s"), "FIELD=COLUMN"),
        ((path, "--map", "arrival_s=ts", "--sort", "--max-rows", 2), "more than 2 rows"),
        ((path, "--map", "arrival_s=ts", "--sort", "--max-bytes", 9), "more than 9 bytes"),
        ((path, "--format", "swf"), "SWF has 18"),
        ((path, "--failures", "keep"), "--failures is for --domain llm"),
        ((path, "--spread-seed", 1), "--spread-seed is for --domain llm"),
        ((nodes,), "--nodes"),
        (("bundled", "--domain", "silicon"), "choose llm, cluster or prefetch"),
        (("bundled-cluster", "--domain", "llm"), "--domain cluster"),
    ):
        code, out, err = run(capsys, "describe", *arguments, "--json")
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("model", "values"), [("philly-like", ("duration_s=86400",)), ("lublin", ("jobs=200", "kind=batch"))]
)
def test_generate_again_from_its_own_record(
    model: str, values: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    chosen = () if model == "philly-like" else ("--model", model)
    set_values = [part for value in values for part in ("--set", value)]
    code, out, _ = run(capsys, "generate", tmp_path / "a.csv.gz", *chosen, *set_values, "--seed", 4, "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["generator"], record["seed"]) == (model, 4)
    # The record says which model it is of.
    assert run(capsys, "generate", tmp_path / "b.csv.gz", "--config", tmp_path / "a.json", "-q") == (0, "", "")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert load_job_trace(tmp_path / "a.csv.gz").content_hash == record["content_hash"]
    assert record["jobs"] == len(load_job_trace(tmp_path / "a.csv.gz"))


def test_generate_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    record, odd = tmp_path / "lublin.json", tmp_path / "odd.json"
    record.write_text(json.dumps({"generator": "lublin", "seed": 1, "parameters": {}}))
    odd.write_text(json.dumps({"generator": 3, "parameters": {}}))
    for arguments, message in (
        ((tmp_path / "a.txt",), "ending"),
        ((tmp_path / "a.csv", "--set", "speed=1"), "--set: speed: Extra inputs"),
        ((tmp_path / "a.csv", "--model", "burstgpt-like"), "take one of philly-like, lublin"),
        ((tmp_path / "a.csv", "--model", "philly-like", "--config", record), "are those of lublin"),
        ((tmp_path / "a.csv", "--domain", "llm", "--config", record), "'lublin' is not known for this domain"),
        ((tmp_path / "a.csv", "--config", odd), "generator a name"),
    ):
        code, out, err = run(capsys, "generate", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


def test_bundled_trace_is_made_by_the_documented_command(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    made = tmp_path / BUNDLED_PATH.name
    assert run(capsys, "generate", made, "--seed", 21, "--set", "longest_run_s=432000", "-q")[0] == 0
    assert gzip.decompress(made.read_bytes()) == gzip.decompress(BUNDLED_PATH.read_bytes())
    record = BUNDLED_PATH.with_name("philly_like.json")
    assert (tmp_path / record.name).read_bytes() == record.read_bytes()


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    source = tmp_path / "given.swf"
    source.write_text(SWF)
    for out_name in ("out.csv", "out.csv.gz", "out.parquet"):
        code, out, _ = run(capsys, "convert", source, tmp_path / out_name, "--json")
        assert code == 0
        assert load_job_trace(tmp_path / out_name).content_hash == json.loads(out)["content_hash"]
    assert run(capsys, "convert", source, tmp_path / "out.xlsx")[0] == 2
    assert "is there already" in run(capsys, "convert", source, tmp_path / "out.csv")[2]
    out_csv = tmp_path / "out.csv"
    assert "is the file that is read" in run(capsys, "convert", out_csv, out_csv, "--force")[2]
    assert source.read_text() == SWF
