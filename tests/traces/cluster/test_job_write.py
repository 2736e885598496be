"""What is written reads back as the same trace."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from job_samples import SAMPLES, job_traces, small_jobs

from handrail.traces import JobTrace, TraceError, load_job_trace
from handrail.traces.cluster.write import write_job_trace
from handrail.traces.common.write import SUFFIXES


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_samples_survive(sample: str, suffix: str, tmp_path: Path):
    (tmp_path / "given").write_text(SAMPLES[sample])
    trace = load_job_trace(tmp_path / "given")
    write_job_trace(trace, tmp_path / f"out{suffix}")
    back = load_job_trace(tmp_path / f"out{suffix}")
    assert back.content_hash == trace.content_hash
    assert (back.processors, back.origin_s) == (trace.processors, trace.origin_s)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_column_survives(suffix: str, tmp_path: Path):
    trace = small_jobs(200).window(10, 900).scale_rate(3.0)
    write_job_trace(trace, tmp_path / f"out{suffix}")
    back = load_job_trace(tmp_path / f"out{suffix}")
    assert back.content_hash == trace.content_hash
    assert back.arrival_s.tolist() == trace.arrival_s.tolist()
    assert (back.processors, back.origin_s) == (trace.processors, trace.origin_s)


@settings(max_examples=30, deadline=None)
@given(job_traces())
def test_any_trace_survives(trace: JobTrace):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            write_job_trace(trace, Path(folder) / f"out{suffix}")
            assert load_job_trace(Path(folder) / f"out{suffix}").content_hash == trace.content_hash


def test_same_trace_same_bytes(tmp_path: Path):
    for name in ("a.csv.gz", "b.csv.gz", "a.parquet", "b.parquet"):
        write_job_trace(small_jobs(), tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_refusals(tmp_path: Path):
    with pytest.raises(TraceError, match=r"take one of \.csv, \.csv\.gz, \.parquet"):
        write_job_trace(small_jobs(), tmp_path / "out.swf")
    with pytest.raises(TraceError, match="without jobs"):
        write_job_trace(small_jobs().head(0), tmp_path / "out.csv")
    with pytest.raises(TraceError, match="cannot be written"):
        write_job_trace(small_jobs(), tmp_path / "no" / "folder.csv")
