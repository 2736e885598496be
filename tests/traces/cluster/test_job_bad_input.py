"""Every mistake in a file of jobs gives one line that names the file as given, the line, the field and the mend."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest
from job_samples import GENERIC, NODES, OPENB, PHILLY, SAMPLES, SWF

from handrail.traces import TraceError, load_job_trace, read_nodes

ONLY_SWF_HEADER = "; Version: 2\n; MaxProcs: 4\n"
CASES = {
    # SWF
    "SWF short line": (SWF.replace("8 600 -1 1 7 2", "8 600 -1 1 7"), r"line 5: 17 fields where SWF has 18"),
    "SWF text": (SWF.replace("12072", "long"), r"line 8 \(data row 3\), field 'run time': 'long' is not a finite"),
    "SWF NaN": (SWF.replace("12072", "nan"), r"line 8 \(data row 3\), field 'run time': 'nan' is not a finite"),
    "SWF underscore": (SWF.replace("12072", "12_072"), r"line 8 .*'run time': '12_072' is not a finite"),
    "SWF backwards": (SWF.replace("130.5", "99"), r"line 8 \(data row 3\), field 'submit time': time goes backwards"),
    "SWF negative time": (SWF.replace("1 100 -1", "1 -100 -1"), r"line 5 .*'submit time'.*-100 is negative"),
    "SWF milliseconds": (SWF.replace("130.5", "1e15"), r"line 8 .*'submit time'.*above"),
    "SWF part of a processor": (SWF.replace("12072 1", "12072 1.5"), r"line 8 .*'allocated.*1.5 is not a whole"),
    "SWF too many processors": (SWF.replace("12072 1", "12072 1e12"), r"line 8 .*'allocated.*above"),
    "SWF header only": (ONLY_SWF_HEADER, "no jobs in it"),
    "SWF nothing ran": (ONLY_SWF_HEADER + "1 5 -1 -1 4 -1 -1 4 9 -1 5 1 1 -1 -1 -1 -1 -1\n", "no job in it ever ran"),
    # Philly
    "missing column": (PHILLY.replace("num_gpus", "cards"), r"line 1: column 'arrival_s' is missing.*--map"),
    "text for GPUs": (PHILLY.replace(",8,", ",many,"), r"line 2 \(data row 1\), field 'num_gpus': 'many' is not"),
    "no GPU": (PHILLY.replace(",8,", ",0,"), r"line 2 .*'num_gpus'.*0 is below 1"),
    "half a GPU": (PHILLY.replace(",8,", ",1.5,"), r"line 2 .*'num_gpus'.*1.5 is not a whole"),
    "no run time": (PHILLY.replace("2240194.0", "0"), r"line 2 .*'duration': '0' is not a finite number above 0"),
    "endless run": (PHILLY.replace("2240194.0", "inf"), r"line 2 .*'duration': 'inf' is not a finite number above 0"),
    "run missing": (PHILLY.replace("2240194.0", ""), r"line 2 .*'duration': '' is not a finite number above 0"),
    "no such day": (PHILLY.replace("2017-09-04", "2017-02-31"), r"line 2 .*'timestamp'.*2017-02-31"),
    "days backwards": (PHILLY.replace("2017-09-04", "2017-10-04"), r"line 3 .*'timestamp': time goes backwards"),
    "short line": (PHILLY.replace(",10,16", ",10"), r"line 4 \(data row 3\): 4 fields where the header names 5"),
    "broken quote": (PHILLY.replace("6214e9", '"62\n14e9"'), "'cluster'.*line end"),
    # openb
    "share of two": (OPENB.replace("460", "1460"), r"line 3 .*'gpu_milli'.*above 1,000"),
    "one GPU without share": (OPENB.replace("460", "0"), r"line 3 .*'gpu_milli'.*num_gpu is 1"),
    "asks for nothing": (OPENB.replace("p2,20000", "p2,0"), r"line 4 .*'cpu_milli'.*asks for nothing"),
    "ends before it begins": (OPENB.replace("1050,60", "55,60"), r"line 2 .*'deletion_time'.*before the pod's start"),
    "scheduled never": (OPENB.replace("1050,60", "1050,soon"), r"line 2 .*'scheduled_time': 'soon' is not"),
    "pods backwards": (OPENB.replace("Pending,70", "Pending,7"), r"line 4 .*'creation_time': time goes backwards"),
    # generic
    "unknown columns": ("a,b\n1,2\n", "'arrival_s' is missing.*found: a, b.*--map arrival_s=COLUMN"),
    "no demand": ("arrival_s,run_s\n1,2\n", "no column says what a job needs.*--map tasks=COLUMN"),
    "generic NaN run": (GENERIC.replace("0.5,10,", "0.5,nan,"), r"line 2 .*'run_s': 'nan' is not a number above 0"),
    "estimate 0": (GENERIC.replace("10,20,1", "10,0,1"), r"line 2 .*'estimate_s': '0' is not a finite number above 0"),
    "negative deadline": (
        GENERIC.replace(",1,100", ",1,-1"),
        r"line 2 .*'deadline_s': '-1' is not.*0 or more",
    ),
    "tasks 0": (GENERIC.replace("inf,,4", "inf,,0"), r"line 3 .*'tasks'.*0 is below 1"),
    "one GPU and a half": (GENERIC.replace("4,2000", "4,1500"), r"line 3 .*'gpu_milli'.*not whole GPUs"),
    "neither": (GENERIC.replace("4,2000", "4,0"), r"line 3 .*'gpu_milli'.*asks for nothing"),
    "user -2": (GENERIC.replace("y,-1,", "y,-2,"), r"line 3 .*'user'.*-2 is below -1"),
    "two machines": ("arrival_s,run_s,tasks,machine_processors\n0,1,1,64\n1,1,1,128\n", r"line 3 .*128 where.*64"),
    "counts twice": ("arrival_s,run_s,cpus\n0,1,-1\n", r"line 2 .*'cpus'.*-1 is not between"),
    # neither
    "empty": ("", "empty"),
    "blank": ("\n \n", "empty"),
    "header only": (PHILLY.splitlines()[0] + "\n", "no jobs"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_message(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("given.csv").write_text(text)
    with pytest.raises(TraceError, match=message) as caught:
        load_job_trace("given.csv")
    assert str(caught.value).startswith("given.csv: ")
    assert "\n" not in str(caught.value)


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # no date: test names must repeat
    return buffer.getvalue()


def encrypted(data: bytes) -> bytes:
    """The same archive with its member marked as encrypted."""
    central = data.index(b"PK\x01\x02")
    return data[:6] + b"\x01" + data[7 : central + 8] + b"\x01" + data[central + 9 :]


PLAIN = SWF.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(PLAIN, mtime=0)[:-20], "gzip data is truncated"),
        (zipped(("a", PLAIN), ("b", PLAIN)), "zip archive holds 2 files; pack the trace file alone"),
        (zipped(), "zip archive holds 0 files"),
        (zipped(("a/", b"")), "zip archive holds 0 files"),
        (zipped(("a", PLAIN))[:-30], "zip archive is damaged"),
        (zipped(("a", PLAIN))[:60] + bytes(40) + zipped(("a", PLAIN))[100:], "zip archive is damaged"),
        (encrypted(zipped(("a", PLAIN))), "zip archive cannot be unpacked.*unpack it first"),
        (zipped(("a", b"")), "empty"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "zstd data is damaged.*again"),
        (bytes(range(256)) * 10, "neither text nor Parquet"),
        (b"PAR1" + bytes(100), "damaged Parquet"),
        (b"; Version: 2\n" + bytes(range(128, 256)), "line 2: .* fields where SWF"),
        (PHILLY.replace("6214e9", "62\xe414e9").encode("latin-1"), "line 3.*'cluster'.*UTF-8"),
    ],
)
def test_bytes_that_are_no_trace(content: bytes, message: str, tmp_path: Path):
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        load_job_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_caps_on_rows_and_bytes(sample: str, tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(SAMPLES[sample])
    with pytest.raises(TraceError, match=r"more than 2 rows.*max_rows"):
        load_job_trace(path, max_rows=2)
    with pytest.raises(TraceError, match=r"more than 100 bytes unpacked.*max_bytes"):
        load_job_trace(path, max_bytes=100)
    assert len(load_job_trace(path, max_rows=6, max_bytes=len(SAMPLES[sample]))) >= 3


def test_bombs_stop_at_the_cap(tmp_path: Path):
    flood = b"0" * 50_000_000
    for name, content in (("bomb.gz", gzip.compress(flood, mtime=0)), ("bomb.zip", zipped(("a", flood)))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TraceError, match="more than 1,000,000 bytes unpacked"):
            load_job_trace(tmp_path / name, max_bytes=1_000_000)


def test_arguments(tmp_path: Path):
    with pytest.raises(TraceError, match="no such file"):
        load_job_trace(tmp_path / "none.swf")
    path = tmp_path / "given"
    path.write_text(GENERIC)
    for options, message in (
        ({"format": "csv"}, "format 'csv' is not known"),
        ({"mapping": {"when": "arrival_s"}}, "--map knows no column 'when'"),
        ({"mapping": {"arrival_s": "when"}}, "'when' is missing.*--map arrival_s=COLUMN"),
        ({"mapping": {"gpus": "tasks"}}, "both gpu_milli and gpus"),
        ({"mapping": {"arrival_s": "arrival_s"}, "format": "philly"}, "--map is for the generic format"),
        ({"format": "swf"}, "line 1: 1 fields where SWF has 18"),
        ({"format": "philly"}, "'timestamp' is missing"),
        ({"format": "openb"}, "'num_gpu' is missing"),
    ):
        with pytest.raises(TraceError, match=message):
            load_job_trace(path, **options)
    path.write_text(SWF)
    with pytest.raises(TraceError, match="--map does not read"):
        load_job_trace(path, mapping={"arrival_s": "when"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODES.replace("n1", "n0"), r"line 2 .*'sn': 'n0' is there twice"),
        (NODES.replace("64000", "-1"), r"line 2 .*'cpu_milli'.*-1 is negative"),
        (NODES.replace(",8,", ",eight,"), r"line 3 .*'gpu': 'eight' is not a number"),
        (NODES.replace("model", "card"), "'model' is missing.*right file"),
        (NODES.splitlines()[0], "no machines"),
        (OPENB, "'sn' is missing"),
    ],
)
def test_node_lists(text: str, message: str, tmp_path: Path):
    path = tmp_path / "nodes.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=message) as caught:
        read_nodes(path)
    assert str(caught.value).startswith(f"{path}: ")
