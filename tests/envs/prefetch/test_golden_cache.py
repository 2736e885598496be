"""Stored runs, to the last bit; `golden_cache.py` says how they are made."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from golden_cache import CONFIGS, STORED, digest, golden_run

from handrail.envs.prefetch.results import OUTCOMES


@pytest.mark.parametrize("name", CONFIGS)
def test_the_golden_run_is_unchanged(name):
    assert digest(golden_run(name)) == json.loads(STORED.read_text(encoding="utf-8"))[name]


def test_the_golden_runs_meet_what_they_are_there_for():
    met: Counter[str] = Counter()
    for name in CONFIGS:
        results = golden_run(name)
        assert results.prefetches.issued > 100, name
        assert results.fetches[2] > 10, name
        met.update(OUTCOMES[code] for code in np.unique(results.outcome))
        met.update(end for end, n in results.prefetches._asdict().items() if n)
    assert min(met[what] for what in (*OUTCOMES, "useful", "late", "useless", "resident", "dropped")) >= 2, met
    seconds = golden_run("open, middle tier, seen only, seconds")
    assert sum(seconds.near_bytes) > sum(seconds.fetch_bytes)
