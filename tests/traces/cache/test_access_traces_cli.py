"""``handrail traces --domain prefetch``: output for people and machines, one line and exit code 2 for a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from access_samples import GENERIC, MOONCAKE, MQSIM, ORACLE

from handrail.experiments.cli import main
from handrail.traces import load_access_trace
from handrail.traces.cache.load import BUNDLED_PATH


def run(capsys: pytest.CaptureFixture[str], command: str, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["traces", command, "--domain", "prefetch", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_list(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert [(row["name"], row["here"]) for row in json.loads(out)["traces"]] == [("bundled-cache", True)]


def test_describe_one_and_two(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "given.bin"
    path.write_bytes(ORACLE)
    code, out, err = run(capsys, "describe", path, "--json")
    one = json.loads(out)
    assert (code, err) == (0, "")
    assert (one["trace"], one["accesses"], one["distinct_objects"]) == (str(path), 6, 3)
    assert one["notes"]["format"] == "oracle-general"
    two = json.loads(run(capsys, "describe", "bundled-cache", BUNDLED_PATH, "--json", "-q")[1])
    assert two["a"]["content_hash"] == two["b"]["content_hash"]
    assert two["distances"]["reuse_distance"]["ks"] == 0
    shown = run(capsys, "describe", "bundled-cache", path)[1]
    for text in ("distinct objects", "LRU hit ratio at 10%", "id difference 1 ", "tenant graph, what", "p99.9 B/A"):
        assert text in shown


def test_options_of_reading(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    mqsim, mooncake, oracle = tmp_path / "a.trace", tmp_path / "b.jsonl", tmp_path / "c.bin"
    mqsim.write_text(MQSIM)
    mooncake.write_text(MOONCAKE)
    oracle.write_bytes(ORACLE)

    def described(*arguments: object) -> dict:
        return json.loads(run(capsys, "describe", *arguments, "--json")[1])

    assert described(mqsim, "--block-bytes", 512)["accesses"] == 58
    assert described(mooncake, "--no-permute")["deltas"]["1"] == pytest.approx(3 / 6)
    assert described(oracle, "--permute")["notes"]["permuted_by_seed"] == 0
    assert described(oracle, "--spread-seed", -1)["duration_s"] == 5
    assert described(oracle, "--spread-seed", 3)["content_hash"] == load_access_trace(oracle, seed=3).content_hash


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "given.csv"
    path.write_text(GENERIC.replace("arrival_s", "ts").replace("2.0,", "1.0,"))
    assert run(capsys, "describe", path, "--map", "arrival_s=ts", "--sort", "--json")[0] == 0
    for arguments, message in (
        ((path, "--map", "arrival_s=ts"), "--sort"),
        ((path, "--map", "arrival_s=ts", "--sort", "--max-rows", 2), "more than 2 rows"),
        ((path, "--format", "mqsim"), "MQSim has 5"),
        ((path, "--failures", "keep"), "--failures is for --domain llm"),
        ((path, "--block-bytes", 512, "--map", "arrival_s=ts"), "block_bytes is for mqsim"),
        ((path, "--permute", "--domain", "llm"), "--permute is for --domain prefetch"),
        ((path, "--block-bytes", 512, "--domain", "cluster"), "--block-bytes is for --domain prefetch"),
        (("bundled-cache", "--domain", "llm"), "--domain prefetch"),
        (("bundled-cluster",), "--domain cluster"),
    ):
        code, out, err = run(capsys, "describe", *arguments, "--json")
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_generate_again_from_its_own_record(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    code, out, _ = run(capsys, "generate", tmp_path / "a.csv.gz", "--set", "duration_s=60", "--seed", 4, "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["generator"], record["seed"]) == ("phases", 4)
    assert record["distinct_objects"] == load_access_trace(tmp_path / "a.csv.gz").distinct_objects
    assert run(capsys, "generate", tmp_path / "b.csv.gz", "--config", tmp_path / "a.json", "-q") == (0, "", "")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    code, out, err = run(capsys, "generate", tmp_path / "c.csv", "--set", "duration_s=-1", "--json")
    assert (code, out) == (2, "")
    assert "duration_s" in err


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "given.bin"
    path.write_bytes(ORACLE)
    for suffix in ("csv", "csv.gz", "parquet"):
        code, out, _ = run(capsys, "convert", path, tmp_path / f"out.{suffix}", "--json")
        assert code == 0
        trace = load_access_trace(tmp_path / f"out.{suffix}")
        assert json.loads(out)["content_hash"] == trace.content_hash == load_access_trace(path).content_hash
        assert trace.origin_s == 7
    assert run(capsys, "convert", path, path)[0] == 2
    assert path.read_bytes() == ORACLE
