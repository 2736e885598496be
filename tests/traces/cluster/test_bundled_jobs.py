"""The job trace that comes with handrail: made by the command that docs/traces.md names, and fit for its use."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np

from handrail.traces import load_job_trace
from handrail.traces.cluster.describe import describe
from handrail.traces.cluster.load import BUNDLED_PATH
from handrail.traces.cluster.philly_like import generate
from handrail.traces.cluster.philly_like_config import PhillyLikeConfig
from handrail.traces.cluster.write import write_job_trace

RECORD = json.loads(BUNDLED_PATH.with_name("philly_like.json").read_text())


def test_regenerating_gives_the_same_bytes(tmp_path: Path):
    trace = generate(PhillyLikeConfig.model_validate(RECORD["parameters"]), RECORD["seed"])
    write_job_trace(trace, tmp_path / "again.csv.gz")
    made, kept = (tmp_path / "again.csv.gz").read_bytes(), BUNDLED_PATH.read_bytes()
    assert gzip.decompress(made) == gzip.decompress(kept)
    if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same content differently
        assert made == kept


def test_documented_command_gives_the_same_parameters():
    config = PhillyLikeConfig(longest_run_s=432_000)
    assert config.model_dump(mode="json") == RECORD["parameters"]
    assert (RECORD["generator"], RECORD["seed"]) == ("philly-like", 21)


def test_record_belongs_to_the_trace():
    kept = load_job_trace()
    assert (len(kept), kept.content_hash) == (RECORD["jobs"], RECORD["content_hash"])


def test_size_and_mix():
    assert BUNDLED_PATH.stat().st_size < 400_000
    summary = describe(load_job_trace("bundled-cluster"))
    assert 20_000 <= summary.jobs <= 30_000
    assert 20.5 * 86_400 <= summary.duration_s <= 21 * 86_400
    assert len(summary.tenants) == 11
    assert summary.run_s["max"] == 432_000
    assert summary.top_percent_area is not None
    assert 0.55 < summary.top_percent_area < 0.75


def test_load_is_spread_over_the_splits():
    trace = load_job_trace()
    end_s = 21 * 86_400.0
    parts = [(trace.window(a * end_s, b * end_s), (b - a) * end_s) for a, b in ((0, 0.5), (0.5, 0.7), (0.7, 1.0))]
    loads = np.array([part.area_s.sum() / span_s for part, span_s in parts])
    rates = np.array([len(part) / span_s for part, span_s in parts])
    assert loads.max() / loads.min() < 1.05
    assert rates.max() / rates.min() < 1.4
