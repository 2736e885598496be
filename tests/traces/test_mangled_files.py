"""Whatever bytes come in, a trace or a TraceError comes out."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mangling import mangled
from trace_samples import GENERIC, SAMPLES

from handrail.traces import RequestTrace, TraceError, load_trace


def _parquet() -> bytes:
    rows = [line.split(",") for line in GENERIC.splitlines()]
    columns = {
        name: [float(v) if name == "arrival_s" else int(v) for v in values]
        for name, *values in zip(*rows, strict=True)
        if name in ("arrival_s", "prompt_tokens", "output_tokens", "prefix_block_tokens")
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table({**columns, "tenant": ["a", "b", "c"]}), buffer)
    return buffer.getvalue()


ORIGINALS = {name: text.encode() for name, text in SAMPLES.items()} | {"parquet": _parquet()}


def _outcome(path: Path, options: dict[str, object]) -> RequestTrace | TraceError:
    try:
        return load_trace(path, **options)  # pyright: ignore[reportArgumentType]
    except TraceError as error:
        return error


def check(data: bytes, **options: object) -> str:
    """Read the bytes as a file, check what comes out, and say which of the two it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given"
        path.write_bytes(data)
        outcome = _outcome(path, options)
        if isinstance(outcome, TraceError):
            assert str(outcome).startswith(f"{path}: ")
            assert len(str(outcome).splitlines()) == 1
            return "refused"
        assert len(outcome) >= 1
        assert np.isfinite(outcome.arrival_s).all()
        assert (np.diff(outcome.arrival_s) >= 0).all()
        assert outcome.prompt_tokens.min() >= 1
        return "read"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled(ORIGINALS), st.sampled_from(("drop", "keep", "retry")), st.booleans(), st.sampled_from((None, 0, 5)))
def test_mangled_traces(data: bytes, failures: str, sort: bool, spread_seed: int | None):
    event(check(data, failures=failures, sort=sort, spread_seed=spread_seed))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(("auto", "burstgpt", "azure", "mooncake", "generic")))
def test_any_bytes(data: bytes, format: str):
    event(check(data, format=format))


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_every_cut(name: str):
    data = ORIGINALS[name]
    outcomes = [check(data[:end]) for end in range(0, len(data), 7)]
    assert "refused" in outcomes
    assert check(data) == "read"
