"""The access trace that comes with handrail: made by the command that docs/traces.md names, and fit for its use."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np

from handrail.traces import load_access_trace
from handrail.traces.cache.describe import describe
from handrail.traces.cache.generator import generate_accesses, generate_with_phases
from handrail.traces.cache.generator_config import AccessConfig
from handrail.traces.cache.load import BUNDLED_PATH
from handrail.traces.cache.write import write_access_trace

RECORD = json.loads(BUNDLED_PATH.with_name("cache_like.json").read_text())


def test_regenerating_gives_the_same_bytes(tmp_path: Path):
    trace = generate_accesses(AccessConfig.model_validate(RECORD["parameters"]), RECORD["seed"])
    write_access_trace(trace, tmp_path / "again.csv.gz")
    made, kept = (tmp_path / "again.csv.gz").read_bytes(), BUNDLED_PATH.read_bytes()
    assert gzip.decompress(made) == gzip.decompress(kept)
    if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same content differently
        assert made == kept


def test_documented_command_gives_the_same_parameters():
    assert AccessConfig().model_dump(mode="json") == RECORD["parameters"]
    assert (RECORD["generator"], RECORD["seed"]) == ("phases", 0)


def test_record_belongs_to_the_trace():
    kept = load_access_trace()
    assert (len(kept), kept.content_hash) == (RECORD["accesses"], RECORD["content_hash"])


def test_size_and_reuse():
    assert BUNDLED_PATH.stat().st_size < 600_000
    summary = describe(load_access_trace("bundled-cache"))
    assert 55_000 < summary.accesses < 65_000
    assert 12_000 < summary.distinct_objects < 20_000
    assert 1_490 < summary.duration_s < 1_500
    assert 0.3 < summary.lru_hit_ratio["10%"] < 0.7
    assert summary.backing == "all"


def test_two_tenants_are_friendly_and_two_are_not():
    tenants = describe(load_access_trace()).tenants
    assert set(tenants) == {"scans", "graph", "web", "oltp"}
    assert 0.25 < (tenants["scans"].next_id or 0) < 0.5
    assert (tenants["scans"].known_pair or 0) < 0.1
    assert (tenants["graph"].known_pair or 0) > 0.6
    for name in ("graph", "web", "oltp"):
        assert tenants[name].next_id == 0
    for name in ("web", "oltp"):
        assert (tenants[name].known_pair or 0) < 0.05


def test_every_phase_is_in_every_part_of_a_split():
    trace, phase = generate_with_phases(AccessConfig(), RECORD["seed"])
    assert trace.tenant is not None
    kinds = trace.tenant * 10 + phase
    everything = set(kinds.tolist())
    assert len(everything) == 3 + 2 + 2 + 3
    parts = [
        kinds[(trace.arrival_s >= a * 1500) & (trace.arrival_s < b * 1500)] for a, b in ((0, 0.5), (0.5, 0.7), (0.7, 1))
    ]
    assert all(set(part.tolist()) == everything for part in parts)
    rates = np.array([len(part) / share for part, share in zip(parts, (0.5, 0.2, 0.3), strict=True)])
    assert rates.max() / rates.min() < 1.2
