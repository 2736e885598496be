"""What is written reads back as the same content."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from access_samples import access_traces, small_accesses
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.traces import AccessTrace, TraceError, load_access_trace
from handrail.traces.cache.write import write_access_trace


@settings(max_examples=60, deadline=None)
@given(access_traces(), st.sampled_from((".csv", ".csv.gz", ".parquet")))
def test_round_trip(trace: AccessTrace, suffix: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write_access_trace(trace, path)
        back = load_access_trace(path)
    assert back.content_hash == trace.content_hash
    assert back.origin_s == trace.origin_s


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_everything_is_kept(suffix: str, tmp_path: Path):
    trace = small_accesses()
    write_access_trace(trace, tmp_path / f"a{suffix}")
    back = load_access_trace(tmp_path / f"a{suffix}")
    assert (back.content_hash, back.origin_s, back.backing) == (trace.content_hash, 7.0, "seen")
    write_access_trace(back, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_columns_that_nobody_has_are_left_out(tmp_path: Path):
    write_access_trace(
        small_accesses(is_write=None, tenant=None, tenant_names=(), backing="all", notes={}), tmp_path / "a.csv.gz"
    )
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).splitlines()[0] == b"arrival_s,key,size_bytes"


def test_mistakes(tmp_path: Path):
    with pytest.raises(TraceError, match="the ending tells"):
        write_access_trace(small_accesses(), tmp_path / "a.bin")
    with pytest.raises(TraceError, match="without accesses"):
        write_access_trace(small_accesses().head(0), tmp_path / "a.csv")
    with pytest.raises(TraceError, match="cannot be written"):
        write_access_trace(small_accesses(), tmp_path / "none" / "a.csv")
