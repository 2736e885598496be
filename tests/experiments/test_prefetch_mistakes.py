"""Mistakes with ``handrail --domain prefetch``: options without effect, values beyond sense, damaged files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from access_fakes import accesses, write_csv

from handrail.experiments.cli import main
from handrail.experiments.domains import domain_named
from handrail.traces.signatures import ORACLE_RECORD


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_csv(tmp_path / "blocks.csv", accesses(200))


def run(capfd, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capfd.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def refused(capfd, *arguments: str) -> str:
    code, out, err = run(capfd, *arguments, "--domain", "prefetch")
    assert (code, out) == (2, "")
    assert err.startswith("handrail: error: ")
    assert err.count("\n") == 1
    return err


def replay(capfd, *arguments: str) -> dict:
    code, out, err = run(capfd, "replay", "--domain", "prefetch", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


WITHOUT_EFFECT = [
    ("--prefetcher none --degree 4", "--degree is that of a prefetcher"),
    ("--prefetcher obl --degree 4 --controller feedback", "--degree and --controller feedback"),
    (
        "--prefetcher none --controller hysteresis",
        "--controller hysteresis has nothing to steer under",
    ),
    ("--prefetcher none --controller feedback", "--controller feedback has nothing to steer under --prefetcher none"),
    ("--prefetcher stride --controller bandit", "--prefetcher and --controller bandit"),
    ("--prefetcher obl --every 8", "--every goes with --policy or --controller"),
    ("--prefetcher obl --every-seconds 8", "--every-seconds goes with --policy or --controller"),
    ("--prefetcher obl --per-tenant", "--per-tenant goes with --policy or --controller"),
    ("--controller fixed --one-for-all", "--one-for-all goes with --policy or --controller"),
    ("--timeless --menu none,obl", "--menu goes with --policy or --controller"),
    ("--controller hysteresis --menu none,obl", "--menu goes with --policy or --controller bandit"),
]


@pytest.mark.parametrize(("options", "says"), WITHOUT_EFFECT, ids=[options for options, _ in WITHOUT_EFFECT])
def test_an_option_without_effect_is_refused(capfd, options, says):
    assert says in refused(capfd, "replay", "--trace", "blocks.csv", *options.split())


def test_options_that_have_an_effect_are_taken(capfd):
    steered = replay(capfd, "--trace", "blocks.csv", "--controller", "feedback", "--every", "8")
    assert steered["decides"] == "obl under feedback"
    chosen = replay(capfd, "--trace", "blocks.csv", "--controller", "bandit", "--menu", "none,obl,stride:2")
    assert chosen["decides"] == "bandit over 3 arms"
    assert replay(capfd, "--trace", "blocks.csv", "--controller", "fixed", "--timeless")["decides"] == "obl:1"


OUT_OF_RANGE = [
    ("--closed 99999999999999999999", "--closed: Input should be less than or equal to 1000000"),
    ("--paced 1000001", "--paced: Input should be less than or equal to 1000000"),
    ("--cache-objects 99999999999999999999", "--cache-objects: Input should be less than or equal to"),
    ("--cache-bytes 99999999999999999999", "--cache-bytes: Input should be less than or equal to"),
    ("--tier-bandwidth 1e-300", "--tier-bandwidth is in bytes a second, at least 1, not 1e-300"),
    ("--tier-bandwidth 1e300", "--tier-bandwidth: Input should be less than or equal to"),
    ("--tier-latency 1e300", "--tier-latency: Input should be less than or equal to"),
    ("--tier-service 1e300", "--tier-service: Input should be less than or equal to"),
]


@pytest.mark.parametrize(("options", "says"), OUT_OF_RANGE, ids=[options for options, _ in OUT_OF_RANGE])
def test_a_number_beyond_sense_is_refused(capfd, options, says):
    assert says in refused(capfd, "replay", "--trace", "blocks.csv", *options.split())


MENUS = [
    ("", "a menu has two arms or more, none among them"),
    ("none", "a menu has two arms or more, none among them"),
    ("none,", "arm '' is not none, NAME or NAME:DEGREE"),
    ("none,obl,obl:1", "the menu's arms must be distinct, and none among them"),
    ("none,obl:0", "arm 'obl:0' is not none, NAME or NAME:DEGREE with a degree of 1 to 64"),
    ("none,OBL", "'OBL' is no prefetcher; choose among none, next-line"),
]


@pytest.mark.parametrize(("menu", "says"), MENUS, ids=[menu for menu, _ in MENUS])
@pytest.mark.parametrize("command", ["replay", "compare"])
def test_a_menu_that_is_none_is_told_by_its_option(capfd, command, menu, says):
    assert f"error: --menu: {says}" in refused(capfd, command, "--trace", "blocks.csv", "--menu", menu)


def test_a_trace_without_a_duration_names_the_options_that_a_tier_needs(capfd, tmp_path):
    write_csv(tmp_path / "once.csv", accesses(20).replace(arrival_s=np.zeros(20)))
    tier = ["--tier-latency", "0.01", "--tier-service", "0.001", "--tier-bandwidth", "1e6"]
    said = refused(capfd, "replay", "--trace", "once.csv", *tier[:4])
    assert "once.csv: all accesses come at one time" in said
    assert "give --tier-latency, --tier-service and --tier-bandwidth" in said
    assert replay(capfd, "--trace", "once.csv", *tier)["accesses"] == 20


def mooncake(tmp_path) -> str:
    lengths = {"input_length": 1024, "output_length": 1}
    lines = [json.dumps({"timestamp": 100 * k, **lengths, "hash_ids": [2 * k, 2 * k + 1]}) for k in range(20)]
    (tmp_path / "blocks.jsonl").write_text("\n".join(lines))
    return "blocks.jsonl"


def test_ids_that_a_reader_permutes_are_said_to_be(capfd, tmp_path):
    permuted = "ids: permuted, so neighbours say nothing"
    base = ["--trace", mooncake(tmp_path), "--prefetcher", "obl"]
    assert replay(capfd, *base)["notes"][0] == permuted
    assert replay(capfd, *base, "--raw-ids")["notes"][0] == "ids: as in the trace"
    (tmp_path / "kv.csv").write_text("op_time,key,op,size,op_count\n0,a,GET,9,1\n2,b,GET,9,1\n5,a,GET,9,1\n")
    assert replay(capfd, "--trace", "kv.csv", "--prefetcher", "obl")["notes"][0] == permuted
    (tmp_path / "text.csv").write_text("arrival_s,key\n0,a\n1,b\n2,a\n")
    assert replay(capfd, "--trace", "text.csv", "--prefetcher", "obl")["notes"][0] == permuted
    header = "op_time,block_id,io_size,io_offset,op_name\n"
    (tmp_path / "block.csv").write_text(header + "0,a,9,0,getChunk\n3,b,9,0,getChunk\n")
    base = ["--trace", "block.csv", "--prefetcher", "obl"]
    assert replay(capfd, *base)["notes"][0] == "ids: blocks are permuted, so only segments of one block are neighbours"
    assert replay(capfd, *base, "--permute")["notes"][0] == permuted


def test_what_a_reader_leaves_out_or_assumes_is_said(capfd, tmp_path):
    (tmp_path / "kv.csv").write_text("key,op,size,op_count\na,GET,9,1\nb,SET,9,1\na,DELETE,0,3\n")
    notes = replay(capfd, "--trace", "kv.csv", "--prefetcher", "none")["notes"]
    assert "operations left out, neither read nor write: 1 DELETE" in notes
    assert "times: the file has none, 1,000 operations a second assumed" in notes
    (tmp_path / "bare.csv").write_text("arrival_s,key\n0,1\n1,2\n")
    notes = replay(capfd, "--trace", "bare.csv", "--prefetcher", "none")["notes"]
    assert notes[-1] == "sizes: the file has none, 4,096 bytes each assumed"
    records = [(row, row, size, -1) for row, size in enumerate((0, 1, 1, 1, 0))]
    (tmp_path / "empty.bin").write_bytes(np.array(records, ORACLE_RECORD).tobytes())
    notes = replay(capfd, "--trace", "empty.bin", "--prefetcher", "none")["notes"]
    assert notes[-1] == "objects of 0 bytes counted as 1: 2 accesses"
    (tmp_path / "msr.csv").write_text("128166372003061629,usr,0,Read,0,0,1\n128166372103061629,usr,0,Read,0,9,1\n")
    tier = ["--tier-latency", "0.01", "--tier-service", "0.001", "--tier-bandwidth", "1e6"]
    notes = replay(capfd, "--trace", "msr.csv", "--prefetcher", "none", *tier)["notes"]
    assert notes[-1] == "requests of 0 bytes left out: 1"


def test_one_oracle_is_singular(capfd):
    notes = replay(capfd, "--trace", "blocks.csv", "--prefetcher", "oracle")["notes"]
    assert notes[-1] == "oracle: oracle knows the future"


def test_a_column_is_not_read_as_two_things(capfd, tmp_path):
    (tmp_path / "own.csv").write_text("when,block\n0,5\n1,6\n")
    maps = ["--map", "arrival_s=when", "--map", "key=when"]
    said = refused(capfd, "replay", "--trace", "own.csv", *maps)
    assert "own.csv: --map: arrival_s and key are both read from column 'when'" in said


def test_binary_content_that_is_no_trace_says_what_is_wrong_with_it(capfd, tmp_path):
    content = np.array([(0, 1, 1, -1)] * 10, ORACLE_RECORD).tobytes()
    (tmp_path / "cut.bin").write_bytes(content[:-5])
    said = refused(capfd, "replay", "--trace", "cut.bin")
    assert "cut.bin: is neither text nor Parquet, and no plausible oracleGeneral" in said
    assert "the last 19 bytes trail" in said
    backwards = np.array([(9 - row, 1, 1, -1) for row in range(10)], ORACLE_RECORD)
    (tmp_path / "back.bin").write_bytes(backwards.tobytes())
    assert "times go back, or a next access leads to another id" in refused(capfd, "replay", "--trace", "back.bin")


def test_a_cachelib_trace_with_one_column_amiss_names_that_column(capfd, tmp_path):
    (tmp_path / "block.csv").write_text("op_time,block_id,iosize,io_offset,op_name\n0,a,9,0,getChunk\n")
    said = refused(capfd, "replay", "--trace", "block.csv")
    assert "column 'io_size' is missing" in said
    assert "CacheLib block trace" in said


def test_the_help_of_train_names_the_algorithms_of_every_domain(capfd):
    code, out, _ = run(capfd, "train", "--help")
    assert code == 0
    words = "".join(c if c.isalnum() or c in "-:;," else " " for c in out).split()
    text = " ".join(words)
    for domain in ("llm", "cluster", "prefetch"):
        assert f"{domain}: {', '.join(domain_named(domain).algorithms)}" in text
