"""Whatever bytes come in, a job trace or a TraceError comes out."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from job_samples import NODES, SAMPLES, small_jobs
from mangling import mangled

from handrail.traces import JobTrace, NodeTable, TraceError, load_job_trace, load_trace, read_nodes
from handrail.traces.cluster.write import write_job_trace


def _parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_job_trace(small_jobs(5), Path(folder) / "a.parquet")
        return (Path(folder) / "a.parquet").read_bytes()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a.swf"), SAMPLES["swf"])
    return buffer.getvalue()


ORIGINALS = {name: text.encode() for name, text in SAMPLES.items()} | {"parquet": _parquet(), "zip": _zip()}


def _outcome(read, path: Path, **options: object):
    try:
        return read(path, **options)
    except TraceError as error:
        return error


def check(data: bytes, read=load_job_trace, **options: object) -> str:
    """Read the bytes as a file, check what comes out, and say which of the two it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given"
        path.write_bytes(data)
        outcome = _outcome(read, path, **options)
        if isinstance(outcome, TraceError):
            assert str(outcome).startswith(f"{path}: ")
            assert len(str(outcome).splitlines()) == 1
            return "refused"
        assert isinstance(outcome, JobTrace | NodeTable)
        assert len(outcome) >= 1
        if isinstance(outcome, JobTrace):
            assert (np.diff(outcome.arrival_s) >= 0).all()
            assert (outcome.run_s > 0).all()
            assert (outcome.size > 0).all()
        return "read"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled(ORIGINALS), st.booleans())
def test_mangled_traces(data: bytes, sort: bool):
    event(check(data, sort=sort))


@settings(max_examples=100, deadline=None)
@given(mangled({"nodes": NODES.encode()}))
def test_mangled_node_lists(data: bytes):
    event(check(data, read_nodes))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(("auto", "swf", "philly", "openb", "generic")))
def test_any_bytes(data: bytes, format: str):
    event(check(data, format=format))


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_every_cut(name: str):
    data = ORIGINALS[name]
    outcomes = [check(data[:end]) for end in range(0, len(data), max(len(data) // 80, 1))]
    assert "refused" in outcomes
    assert check(data) == "read"


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_the_other_domain_refuses(name: str):
    assert check(ORIGINALS[name], load_trace) == "refused"
