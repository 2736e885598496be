"""Whatever bytes come in, an access trace or a TraceError comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from access_samples import SAMPLES, small_accesses, zstd
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mangling import mangled

from handrail.traces import AccessTrace, TraceError, load_access_trace, load_job_trace, load_trace
from handrail.traces.cache.load import FORMATS
from handrail.traces.cache.write import write_access_trace


def _parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_access_trace(small_accesses(5), Path(folder) / "a.parquet")
        return (Path(folder) / "a.parquet").read_bytes()


ORIGINALS = SAMPLES | {"parquet": _parquet(), "zstd": zstd(SAMPLES["generic"]), "zstd records": zstd(SAMPLES["msr"])}


def _outcome(read, path: Path, **options: object):
    try:
        return read(path, **options)
    except TraceError as error:
        return error


def check(data: bytes, read=load_access_trace, **options: object) -> str:
    """Read the bytes as a file, check what comes out, and say which of the two it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given"
        path.write_bytes(data)
        outcome = _outcome(read, path, max_rows=100_000, **options)
        if isinstance(outcome, TraceError):
            assert str(outcome).startswith(f"{path}: ")
            assert len(str(outcome).splitlines()) == 1
            return "refused"
        assert isinstance(outcome, AccessTrace)
        assert len(outcome) >= 1
        assert (np.diff(outcome.arrival_s) >= 0).all()
        assert (outcome.key >= 0).all()
        assert (outcome.size_bytes >= 1).all()
        return "read"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled(ORIGINALS), st.booleans())
def test_mangled_traces(data: bytes, sort: bool):
    event(check(data, sort=sort))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled(ORIGINALS), st.sampled_from(FORMATS))
def test_mangled_traces_of_a_named_format(data: bytes, format: str):
    event(check(data, format=format))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(FORMATS))
def test_any_bytes(data: bytes, format: str):
    event(check(data, format=format))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=6))
def test_any_records(records: list[bytes]):
    event(check(b"".join(records), format="oracle-general", sort=True))


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_every_cut(name: str):
    data = ORIGINALS[name]
    outcomes = [check(data[:end]) for end in range(0, len(data), max(len(data) // 80, 1))]
    assert "refused" in outcomes
    assert check(data) == "read"


@pytest.mark.parametrize("name", sorted(set(ORIGINALS) - {"mooncake"}))
def test_other_domains_refuse(name: str):
    assert check(ORIGINALS[name], load_trace) == "refused"
    assert check(ORIGINALS[name], load_job_trace) == "refused"
