"""Every mistake in a file gives one line that names the file as given, the line, the field and the mend."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from trace_samples import AZURE, BURSTGPT_1, BURSTGPT_3, GENERIC, MOONCAKE

from handrail.traces import TraceError, load_trace

CASES = {
    # BurstGPT
    "missing column": (BURSTGPT_1.replace("Response tokens", "Answer"), "line 1.*'Response tokens' is missing.*--map"),
    "doubled column": (BURSTGPT_1.replace("Total tokens", "Timestamp"), "'Timestamp' is there 2 times"),
    "text for a number": (
        BURSTGPT_1.replace("1087", "many"),
        r"line 3 \(data row 2\).*'Request tokens'.*'many' is not",
    ),
    "nothing for a number": (BURSTGPT_1.replace("1087", ""), r"line 3 \(data row 2\).*'Request tokens'.*'' is not"),
    "negative": (BURSTGPT_1.replace(",18,", ",-18,"), r"line 2 \(data row 1\).*'Response tokens'.*-18 is negative"),
    "NaN": (BURSTGPT_1.replace(",18,", ",nan,"), r"line 2 \(data row 1\).*'Response tokens'.*finite"),
    "infinite": (BURSTGPT_1.replace("118,", "inf,"), r"line 4 \(data row 3\).*'Timestamp'.*finite"),
    "fraction of a token": (BURSTGPT_1.replace(",18,", ",1.5,"), r"line 2.*'Response tokens'.*1.5 is not a whole"),
    "too many tokens": (BURSTGPT_1.replace(",18,", ",1e12,"), r"line 2.*'Response tokens'.*above"),
    "negative time": (BURSTGPT_1.replace("5,Chat", "-5,Chat", 1), r"line 2.*'Timestamp'.*negative"),
    "milliseconds for seconds": (BURSTGPT_1.replace("185,Chat", "1e15,Chat"), r"line 5.*'Timestamp'.*too large"),
    "time backwards": (BURSTGPT_1.replace("118,", "1,"), r"line 4 \(data row 3\).*'Timestamp'.*backwards.*--sort"),
    "blank lines count": (BURSTGPT_1.replace("118,", "\n\n\nx,"), r"line 7 \(data row 3\).*'Timestamp'.*'x'"),
    "short line": (BURSTGPT_3.replace(",43,", ","), r"line 2 \(data row 1\): 7 fields.*names 8"),
    "long line": (BURSTGPT_3.replace(",43,", ",4,3,"), r"line 2 \(data row 1\): 9 fields.*names 8"),
    "header only": (BURSTGPT_1.splitlines()[0] + "\n", "no requests"),
    # Azure
    "no date": (AZURE.replace("2023-11-16 18:15:50.9951690", "12:30"), r"line 3 \(data row 2\).*'TIMESTAMP'.*'12:30'"),
    "no such day": (AZURE.replace("2023-11-16 18:15:50", "2023-02-31 18:15:50"), r"line 3.*'TIMESTAMP'.*2023-02-31"),
    "mixed zones": (AZURE.replace("690,", "690Z,"), r"line 3 .*'TIMESTAMP'.*time zone"),
    "Azure backwards": (AZURE.replace("18:15:50", "17:15:50"), r"line 3.*'TIMESTAMP'.*backwards.*--sort"),
    "Azure negative": (AZURE.replace(",109", ",-109"), r"line 3.*'GeneratedTokens'.*negative"),
    # generic
    "unknown columns": ("a,b\n1,2\n", "'arrival_s' is missing.*found: a, b.*--map arrival_s=COLUMN"),
    "bad priority": (GENERIC.replace(",m,1,", ",m,high,"), r"line 2.*'priority'.*'high'"),
    "bad blocks": (GENERIC.replace("3 1 2", "3 x 2"), r"line 4.*'prefix_blocks'.*'3 x 2'"),
    "block sizes differ": (GENERIC.replace(",,16", ",,32"), r"line 3.*'prefix_block_tokens'.*32"),
    "all failed": ("arrival_s,prompt_tokens,output_tokens\n1,2,0\n", "every request failed.*nothing to replay"),
    # Mooncake
    "no JSON": (MOONCAKE.replace('{"timestamp": 2999', "{timestamp: 2999"), r"line 3 \(data row 3\).*not JSON"),
    "no object": (MOONCAKE + "[1]\n", r"line 5 \(data row 5\).*JSON list"),
    "missing field": (MOONCAKE.replace('"output_length": 7', '"out": 7'), r"line 3.*'output_length'.*missing"),
    "string for a number": (MOONCAKE.replace(": 2999", ': "2999"'), r"line 3.*'timestamp'.*'2999' is not a number"),
    "true for a number": (MOONCAKE.replace(": 2999", ": true"), r"line 3.*'timestamp'.*bool is not a number"),
    "JSON NaN": (MOONCAKE.replace(": 2999", ": NaN"), r"line 3.*'timestamp'.*finite"),
    "JSON negative": (MOONCAKE.replace(": 513", ": -513"), r"line 3.*'input_length'.*negative"),
    "JSON backwards": (MOONCAKE.replace(": 6000", ": 100"), r"line 4.*'timestamp'.*backwards.*--sort"),
    "ids no list": (MOONCAKE.replace("[5]", "5"), r"line 4.*'hash_ids'.*list"),
    "negative id": (MOONCAKE.replace("[5]", "[-5]"), r"line 4.*'hash_ids'.*0 or more"),
    "too many ids": (MOONCAKE.replace("[5]", "[5, 6]"), r"line 4.*'hash_ids'.*2 blocks"),
    "deep nesting": ('{"timestamp": ' + "[" * 100_000, r"line 1.*not JSON"),
    # neither
    "empty": ("", "empty"),
    "blank": ("\n \n", "empty"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_message(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("given.csv").write_text(text)
    with pytest.raises(TraceError, match=message) as caught:
        load_trace("given.csv")
    assert str(caught.value).startswith("given.csv: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(BURSTGPT_1.encode(), mtime=0)[:-20], "gzip data is truncated"),
        (gzip.compress(BURSTGPT_1.encode(), mtime=0)[:5], "gzip data is truncated"),
        (gzip.compress(BURSTGPT_1.encode(), mtime=0)[:40] + b"\x00" * 60, "gzip data is damaged"),
        (gzip.compress(BURSTGPT_1.encode(), mtime=0) + b"rest", "gzip data is damaged"),
        (gzip.compress(b"", mtime=0), "empty"),
        (bytes(range(256)) * 10, "neither text nor Parquet"),
        (b"\x00" * 100, "neither text nor Parquet"),
        (b"PAR1" + bytes(100), "damaged Parquet"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (BURSTGPT_1.replace("Conversation", "Convers\xe4tion").encode("latin-1"), "line 2.*'Log Type'.*UTF-8"),
    ],
)
def test_bytes_that_are_no_trace(content: bytes, message: str, tmp_path: Path):
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        load_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_caps_on_rows_and_bytes(tmp_path: Path):
    for text in (BURSTGPT_1, AZURE, GENERIC, MOONCAKE):
        path = tmp_path / "given"
        path.write_text(text)
        with pytest.raises(TraceError, match=r"more than 2 rows.*max_rows"):
            load_trace(path, max_rows=2)
        with pytest.raises(TraceError, match=r"more than 100 bytes unpacked.*max_bytes"):
            load_trace(path, max_bytes=100)
        assert len(load_trace(path, max_rows=4, max_bytes=len(text))) >= 3


def test_gzip_bomb_stops_at_the_cap(tmp_path: Path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 50_000_000))
    with pytest.raises(TraceError, match="more than 1,000,000 bytes unpacked"):
        load_trace(path, max_bytes=1_000_000)


def test_missing_file_folder_and_arguments(tmp_path: Path):
    with pytest.raises(TraceError, match=r"no such file.*traces list"):
        load_trace(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="is a folder"):
        load_trace(tmp_path)
    with pytest.raises(TraceError, match="cannot be read"):
        load_trace("nul\0byte")
    path = tmp_path / "given"
    path.write_text(GENERIC)
    for options, message in (
        ({"format": "csv"}, "format 'csv' is not known"),
        ({"failures": "hide"}, "failures='hide' is not known"),
        ({"mapping": {"when": "arrival_s"}}, "--map knows no column 'when'"),
        ({"mapping": {"arrival_s": "when"}}, "'when' is missing.*--map arrival_s=COLUMN"),
        ({"mapping": {"arrival_s": "arrival_s", "arrival_ms": "arrival_s"}}, "give one"),
        ({"mapping": {"arrival_s": "arrival_s"}, "format": "azure"}, "--map is for the generic format"),
        ({"format": "mooncake"}, "not JSON"),
        ({"spread_seed": -1}, "spread_seed"),
        ({"max_rows": 0}, "at least 1"),
    ):
        with pytest.raises(TraceError, match=message):
            load_trace(path, **options)


def test_format_given_wins_over_content(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(GENERIC)
    with pytest.raises(TraceError, match="'Timestamp' is missing"):
        load_trace(path, format="burstgpt")
