"""Stored runs, to the last bit; `golden_cluster.py` says how they are made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_cluster import CONFIGS, STORED, digest, golden_run

from handrail.envs.cluster import FINISHED, KILLED


@pytest.mark.parametrize("name", CONFIGS)
def test_the_golden_run_is_unchanged(name):
    assert digest(golden_run(name)) == json.loads(STORED.read_text(encoding="utf-8"))[name]


def test_the_golden_runs_meet_what_they_are_there_for():
    runs = {name: golden_run(name) for name in CONFIGS}
    for name, results in runs.items():
        waits = (results.start_s - results.arrival_s)[results.status == FINISHED]
        assert np.mean(waits > 0) > 0.2, name
        assert np.mean(results.status == FINISHED) > 0.5, name
    assert (runs["processors, sjf, conservative, killed"].status == KILLED).sum() > 10
    assert runs["machines, las"].preemptions.sum() > 10
    assert (runs["machines, drf, easy, faults"].attempts > 1).sum() > 10
