"""``handrail traces``: output for people and machines, one line and exit code 2 for a mistake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from trace_samples import BURSTGPT_3, GENERIC

from handrail.experiments.cli import main
from handrail.traces import load_trace
from handrail.traces.llm.load import BUNDLED_PATH


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["traces", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_list(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HANDRAIL_TRACES", str(tmp_path))
    (tmp_path / "BurstGPT_3.csv").write_text(BURSTGPT_3)
    code, out, _ = run(capsys, "list", "--json")
    here = {row["name"]: row["here"] for row in json.loads(out)["traces"]}
    assert code == 0
    assert [name for name, is_here in here.items() if is_here] == ["bundled", "burstgpt-3"]
    assert len(here) == 7
    assert "handrail traces fetch burstgpt-1" in run(capsys, "list")[1]


def test_describe_one_and_two(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "describe", "bundled", "--json")
    one = json.loads(out)
    assert (code, err) == (0, "")
    assert one["trace"] == "bundled"
    assert one["requests"] == len(load_trace())
    assert one["notes"]["failed"] > 0
    two = json.loads(run(capsys, "describe", "bundled", BUNDLED_PATH, "--json", "-q")[1])
    assert two["a"]["content_hash"] == two["b"]["content_hash"]
    assert two["distances"]["prompt_tokens"]["ks"] == 0
    shown = run(capsys, "describe", "bundled", BUNDLED_PATH)[1]
    for text in ("busiest minute", "inter-arrival CV", "Fano factor, 60 s", "Spearman", "Wasserstein", "p99.9 B/A"):
        assert text in shown


def test_options_reach_the_reader(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "given.csv"
    path.write_text(GENERIC.replace("arrival_s", "ts").replace("2.0,", "1.0,"))
    assert run(capsys, "describe", path, "--map", "arrival_s=ts", "--sort", "--json")[0] == 0
    for extra, message in (
        (["--map", "arrival_s=ts"], "--sort"),
        (["--map", "arrival_s"], "FIELD=COLUMN"),
        (["--map", "arrival_s=ts", "--sort", "--max-rows", 2], "more than 2 rows"),
        (["--map", "arrival_s=ts", "--sort", "--max-bytes", 9], "more than 9 bytes"),
        (["--format", "azure"], "'TIMESTAMP' is missing"),
        (["--failures", "hide"], "drop, keep or retry"),
    ):
        code, out, err = run(capsys, "describe", path, "--json", *extra)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_generate_again_from_its_own_record(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    values = ("--set", "duration_s=3000", "--set", "rate_per_s=0.5", "--seed", 4)
    code, out, _ = run(capsys, "generate", tmp_path / "a.csv.gz", *values, "--json")
    record = json.loads(out)
    assert code == 0
    assert record["parameters"]["duration_s"] == 3000
    assert record["seed"] == 4
    assert run(capsys, "generate", tmp_path / "b.csv.gz", "--config", tmp_path / "a.json", "-q") == (0, "", "")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert load_trace(tmp_path / "a.csv.gz", failures="keep").content_hash == record["content_hash"]


def test_generate_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("{")
    for arguments, message in (
        ((tmp_path / "a.txt",), "ending"),
        ((tmp_path / "a.csv", "--set", "speed=1"), "--set: speed: Extra inputs"),
        ((tmp_path / "a.csv", "--set", "speed"), "NAME=VALUE"),
        ((tmp_path / "a.csv", "--config", tmp_path / "none.json"), "cannot be read"),
        ((tmp_path / "a.csv", "--config", tmp_path / "list.json"), "one JSON object"),
        ((tmp_path / "a.csv", "--config", tmp_path / "text.json"), "is not JSON"),
    ):
        code, out, err = run(capsys, "generate", *arguments)
        assert (code, out) == (2, "")
        assert message in err
    assert not (tmp_path / "a.csv").exists()


def test_bundled_trace_is_made_by_the_documented_command(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    config = BUNDLED_PATH.with_name("burstgpt_like.json")
    assert run(capsys, "generate", tmp_path / "burstgpt_like.csv.gz", "--config", config, "-q")[0] == 0
    assert gzip.decompress((tmp_path / BUNDLED_PATH.name).read_bytes()) == gzip.decompress(BUNDLED_PATH.read_bytes())
    assert (tmp_path / config.name).read_bytes() == config.read_bytes()


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "given").write_text(BURSTGPT_3)
    for out_name in ("out.csv", "out.csv.gz", "out.parquet"):
        code, out, _ = run(capsys, "convert", tmp_path / "given", tmp_path / out_name, "--json")
        assert code == 0
        assert load_trace(tmp_path / out_name, failures="keep").content_hash == json.loads(out)["content_hash"]
    assert run(capsys, "convert", tmp_path / "given", tmp_path / "out.xlsx")[0] == 2


def test_fetch_of_an_unknown_name(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "fetch", "sharegpt", "--json")
    assert (code, out) == (2, "")
    assert "burstgpt-1" in err


def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    source = tmp_path / "mine.csv"
    source.write_text(BURSTGPT_3)
    other, notes = tmp_path / "other.csv", tmp_path / "drawn.json"
    other.write_text("years of work")
    notes.write_text("{}")
    for arguments, says in (
        (("convert", source, source), "is the file that is read"),
        (("convert", source, source, "--force"), "is the file that is read"),
        (("convert", source, other), "is there already"),
        (("generate", tmp_path / "drawn.csv", "--set", "duration_s=60"), "drawn.json: is there already"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert says in err
        assert err.count("\n") == 1
    assert source.read_text() == BURSTGPT_3
    assert other.read_text() == "years of work"
    assert notes.read_text() == "{}"
    assert run(capsys, "convert", source, other, "--force")[0] == 0
    assert len(load_trace(str(other))) > 0
