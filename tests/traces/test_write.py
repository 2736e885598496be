"""What is written reads back as the same trace, and is never there by half."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from trace_samples import SAMPLES, request_traces, small_trace

from handrail.traces import RequestTrace, TraceError, load_trace
from handrail.traces.common.write import SUFFIXES, write_atomically
from handrail.traces.llm.write import write_trace


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_samples_survive(sample: str, suffix: str, tmp_path: Path):
    (tmp_path / "given").write_text(SAMPLES[sample])
    trace = load_trace(tmp_path / "given", failures="keep")
    write_trace(trace, tmp_path / f"out{suffix}")
    assert load_trace(tmp_path / f"out{suffix}", failures="keep").content_hash == trace.content_hash


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_column_survives(suffix: str, tmp_path: Path):
    trace = small_trace(200).window(10, 90).scale_rate(3.0)
    write_trace(trace, tmp_path / f"out{suffix}")
    back = load_trace(tmp_path / f"out{suffix}")
    assert back.content_hash == trace.content_hash
    assert back.arrival_s.tolist() == trace.arrival_s.tolist()


@settings(max_examples=60, deadline=None)
@given(request_traces())
def test_any_trace_survives(trace: RequestTrace):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            write_trace(trace, Path(folder) / f"out{suffix}")
            assert load_trace(Path(folder) / f"out{suffix}").content_hash == trace.content_hash


def test_same_trace_same_bytes(tmp_path: Path):
    for name in ("a.csv.gz", "b.csv.gz", "a.parquet", "b.parquet"):
        write_trace(small_trace(), tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_refusals(tmp_path: Path):
    with pytest.raises(TraceError, match=r"take one of \.csv, \.csv\.gz, \.parquet"):
        write_trace(small_trace(), tmp_path / "out.json")
    with pytest.raises(TraceError, match="without requests"):
        write_trace(small_trace().head(0), tmp_path / "out.csv")
    with pytest.raises(TraceError, match="cannot be written"):
        write_trace(small_trace(), tmp_path / "no" / "folder.csv")


def test_broken_writing_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(file) -> None:
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
