"""Same inputs, same outputs, byte for byte, in processes that hash differently."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = "from handrail.experiments.cli import main; main()"


def compare(folder, hash_seed, cache, workers, *arguments):
    """Run ``compare`` in a process of its own; the run folder's files by name."""
    out = folder / f"out-{hash_seed}-{workers}"
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "XDG_CACHE_HOME": str(folder / cache)}
    words = ["compare", "--out", str(out), "--workers", str(workers), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("policy", ["power-of-two", "sabotage:random"])
def test_two_processes_write_the_same_bytes(tmp_path, policy):
    arguments = ["--window", "0:300", "--policy", policy, "--placebo", "1", "--rate", "20", "--load-by", "superpose"]
    first = compare(tmp_path, 1, "cold", 1, *arguments)
    second = compare(tmp_path, 2, "other", 2, *arguments)
    third = compare(tmp_path, 3, "cold", 1, *arguments)
    assert set(first) == set(second) == set(third)
    for name in set(first) - {"timing.json"}:
        assert first[name] == second[name], name
        assert first[name] == third[name], name


def test_two_processes_schedule_alike(tmp_path):
    arguments = ["--domain", "cluster", "--window", "0:60000", "--policy", "sabotage:random", "--placebo", "1"]
    first, second = (compare(tmp_path, hash_seed, "cold", 1, *arguments) for hash_seed in (1, 2))
    assert set(first) == set(second)
    for name in set(first) - {"timing.json"}:
        assert first[name] == second[name], name


def test_two_processes_prefetch_alike(tmp_path):
    arguments = ["--domain", "prefetch", "--window", "0:120", "--policy", "sabotage:random", "--placebo", "1"]
    first, second = (
        compare(tmp_path, hash_seed, "cold", workers, *arguments) for hash_seed, workers in ((1, 1), (2, 2))
    )
    assert set(first) == set(second)
    for name in set(first) - {"timing.json"}:
        assert first[name] == second[name], name
