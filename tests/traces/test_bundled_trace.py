"""The trace that comes with handrail: made by the command that docs/traces.md names, and fit for its use."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np

from handrail.traces import load_trace
from handrail.traces.llm.describe import describe
from handrail.traces.llm.generator import generate
from handrail.traces.llm.generator_config import BurstGPTLikeConfig
from handrail.traces.llm.load import BUNDLED_PATH
from handrail.traces.llm.write import write_trace

RECORD = json.loads(BUNDLED_PATH.with_name("burstgpt_like.json").read_text())


def test_regenerating_gives_the_same_bytes(tmp_path):
    trace = generate(BurstGPTLikeConfig.model_validate(RECORD["parameters"]), RECORD["seed"])
    write_trace(trace, tmp_path / "again.csv.gz")
    made, kept = (tmp_path / "again.csv.gz").read_bytes(), BUNDLED_PATH.read_bytes()
    assert gzip.decompress(made) == gzip.decompress(kept)
    if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same content differently
        assert made == kept


def test_record_belongs_to_the_trace():
    kept = load_trace(failures="keep")
    assert (len(kept), kept.content_hash) == (RECORD["requests"], RECORD["content_hash"])
    assert load_trace("bundled").notes["failed"] == RECORD["failed"]


def test_size_and_mix():
    assert BUNDLED_PATH.stat().st_size < 400_000
    trace = load_trace("bundled")
    summary = describe(trace)
    assert 9_000 <= summary.requests <= 11_000
    assert 2.5 * 3600 <= summary.duration_s <= 3 * 3600
    assert 0.3 < summary.tenants["API log"] < 0.7
    assert set(summary.models) == {"ChatGPT", "GPT-4"}
    assert trace.session_id is not None


def test_bursts_are_spread_over_the_splits():
    trace = load_trace("bundled")
    end = trace.arrival_s[-1]
    parts = [trace.window(a * end, b * end) for a, b in ((0, 0.5), (0.5, 0.7), (0.7, 1.0))]
    summaries = [describe(part) for part in parts]
    rates = np.array([summary.rate_per_s for summary in summaries])
    assert rates.max() / rates.min() < 1.25
    assert all(summary.fano_60s is not None and 8 < summary.fano_60s < 30 for summary in summaries)
    means = np.array([summary.prompt_tokens["mean"] for summary in summaries])
    assert means.max() / means.min() < 1.4
