"""The access generator: each phase does what its name says, and every stream of randomness stands alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from handrail.traces import AccessTrace, TraceError
from handrail.traces.cache.describe import describe
from handrail.traces.cache.generator import generate_accesses, generate_with_phases
from handrail.traces.cache.generator_config import AccessConfig


def one(*phases: dict[str, Any], duration_s: float = 400.0, **tenant: Any) -> AccessConfig:
    values = {"name": "only", "rate_per_s": 50.0, **tenant, "phases": phases}
    return AccessConfig.model_validate({"duration_s": duration_s, "tenants": [values]})


def keys(*phases: dict[str, Any], seed: int = 0, **tenant: Any) -> np.ndarray:
    return generate_accesses(one(*phases, **tenant), seed).key


def test_sequential():
    found = keys({"kind": "sequential", "objects": 10_000, "run_mean": 50, "duration_s": 1e4})
    assert (np.diff(found) == 1).mean() == pytest.approx(1 - 1 / 50, abs=0.01)
    assert found.min() >= 0
    assert found.max() < 10_000


def test_strided():
    found = keys({"kind": "strided", "objects": 10_000, "step": -7, "run_mean": 50, "spacing": 3, "duration_s": 1e4})
    assert (np.diff(found) == -21).mean() == pytest.approx(0.98, abs=0.01)
    assert (found % 3 == 0).all()


def test_streams_are_runs_side_by_side():
    found = keys({"kind": "streams", "objects": 10**6, "streams": 4, "steps": [2], "run_mean": 1e6, "duration_s": 1e4})
    assert (np.diff(found) == 2).mean() == pytest.approx(0.25, abs=0.02)
    # Four runs, each of which takes every second object: told apart by where they are.
    starts = np.flatnonzero(np.diff(np.unique(found)) != 2)
    assert len(starts) == 3


def test_chase_follows_one_chain():
    chase = {"kind": "chase", "objects": 300, "first_id": 100, "duration_s": 1e4}
    found = keys(chase)
    assert sorted(set(found.tolist())) == list(range(100, 400))
    assert (found[300:] == found[:-300]).all()
    assert (np.diff(found) == 1).mean() < 0.02
    noisy = describe(generate_accesses(one({**chase, "noise": 0.2}), 0))
    assert noisy.known_pair == pytest.approx(0.8**4, abs=0.06)  # this pair and the last one, both ends


def test_a_phase_that_returns_has_the_same_chain():
    chase = {"kind": "chase", "objects": 100, "duration_s": 20.0}
    config = one(chase, {"kind": "uniform", "objects": 100, "first_id": 500, "duration_s": 20.0}, length_jitter=0.0)
    trace, phase = generate_with_phases(config, 0)
    assert (np.diff(phase) != 0).sum() == 400 / 20 - 1
    chain: dict[int, set[int]] = {}
    walks = np.split(trace.key, np.flatnonzero(np.diff(phase)) + 1)[::2]
    for walk in walks:
        for before, after in zip(walk[:-1].tolist(), walk[1:].tolist(), strict=True):
            chain.setdefault(before, set()).add(after)
    assert len(chain) == 100
    assert all(len(after) == 1 for after in chain.values())
    assert ((trace.key >= 500) == (phase == 1)).all()


def test_zipf():
    found = keys({"kind": "zipf", "objects": 1000, "alpha": 1.0, "duration_s": 1e4}, rate_per_s=500.0)
    counts = np.sort(np.unique(found, return_counts=True)[1])[::-1] / len(found)
    harmonic = (1 / np.arange(1, 1001)).sum()
    np.testing.assert_allclose(counts[:5], 1 / np.arange(1, 6) / harmonic, rtol=0.05)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02


def test_uniform_and_loop():
    found = keys({"kind": "uniform", "objects": 100, "duration_s": 1e4})
    assert np.unique(found, return_counts=True)[1].min() > 100
    looped = keys({"kind": "loop", "objects": 70, "duration_s": 1e4})
    assert set((np.diff(looped) % 70).tolist()) == {1}


def test_rates_phases_and_bursts():
    phases = (
        {"kind": "uniform", "objects": 10, "duration_s": 10.0},
        {"kind": "uniform", "objects": 10, "duration_s": 10.0, "rate_factor": 3.0},
    )
    config = one(*phases, length_jitter=0.0)
    assert config.expected_accesses == pytest.approx(400 * 50 * 2)
    trace, phase = generate_with_phases(config, 0)
    assert len(trace) == pytest.approx(config.expected_accesses, rel=0.03)
    assert np.bincount(phase)[1] / np.bincount(phase)[0] == pytest.approx(3, rel=0.05)
    assert trace.arrival_s.max() < 400
    steady = generate_accesses(one(phases[0]), 0)
    bursty = generate_accesses(one(phases[0], on_mean_s=1.0, off_mean_s=3.0), 0)
    assert len(bursty) == pytest.approx(len(steady), rel=0.2)
    assert _fano(steady) < 2 < 20 < _fano(bursty)
    assert _fano(generate_accesses(one(phases[0], arrival_cv=3.0), 0)) > 4


def test_sizes_belong_to_objects_and_writes_to_accesses():
    phase = {"kind": "uniform", "objects": 500, "duration_s": 1e4}
    trace = generate_accesses(one(phase, size_bytes=1000, size_log_sigma=1.0, write_share=0.25), 0)
    pairs = np.unique(np.stack((trace.key, trace.size_bytes)), axis=1)
    assert pairs.shape[1] == 500
    assert np.median(pairs[1]) == pytest.approx(1000, rel=0.15)
    assert trace.is_write is not None
    assert trace.is_write.mean() == pytest.approx(0.25, abs=0.02)


def test_streams_of_randomness_stand_alone():
    zipf = {"kind": "zipf", "objects": 100, "duration_s": 1e4}
    first = generate_accesses(one(zipf), 5)
    other = generate_accesses(one({**zipf, "alpha": 0.2}, write_share=0.5, size_log_sigma=1.0), 5)
    np.testing.assert_array_equal(first.arrival_s, other.arrival_s)
    assert generate_accesses(one(zipf), 5).content_hash == first.content_hash
    assert generate_accesses(one(zipf), 6).content_hash != first.content_hash


def test_tenants_have_ids_of_their_own():
    trace = generate_accesses(AccessConfig(duration_s=60), 0)
    found = [set(trace.key[trace.rows_of_tenant(code)].tolist()) for code in range(4)]
    assert sum(map(len, found)) == trace.distinct_objects
    part = AccessConfig(duration_s=60, tenants=AccessConfig().tenants[:2])
    alone = generate_accesses(part, 0)
    rows = trace.rows_of_tenant(1)
    np.testing.assert_array_equal(trace.key[rows], alone.key[alone.rows_of_tenant(1)])


def test_mistakes():
    uniform = {"kind": "uniform", "objects": 10}
    for changes, message in (
        ({"duration_s": 0}, "duration_s"),
        ({"rate_factor": 1e9}, "accesses would be drawn"),
        ({"tenants": []}, "tenants"),
        ({"tenants": [{"name": "a", "rate_per_s": 1, "phases": [uniform]}] * 2}, "names of their own"),
        ({"tenants": [{"name": "a", "rate_per_s": 1, "phases": [{"kind": "magic", "objects": 1}]}]}, "magic"),
        ({"tenants": [{"name": "a", "rate_per_s": 1, "phases": [{**uniform, "alpha": 1}]}]}, "Extra inputs"),
        (
            {"tenants": [{"name": "a", "rate_per_s": 1, "phases": [{**uniform, "spacing": 10**6, "objects": 10**4}]}]},
            "ids",
        ),
    ):
        with pytest.raises(ValidationError, match=message):
            AccessConfig.model_validate(changes)
    with pytest.raises(TraceError, match="seed must be"):
        generate_accesses(AccessConfig(), -1)
    with pytest.raises(TraceError, match="no access"):
        generate_accesses(one(uniform, duration_s=1e-6), 0)


def _fano(trace: AccessTrace) -> float:
    fano = describe(trace).fano_1s
    assert fano is not None
    return fano
