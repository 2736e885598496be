"""Golden runs: small workloads under several configs, of whose columns the hashes are stored.

A change of `golden_cluster.json` is a change of the simulator's semantics and belongs in the changelog. It is written
anew by

    python tests/envs/cluster/golden_cluster.py
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np

from handrail.envs.cluster import (
    ClusterConfig,
    ClusterResults,
    ClusterSimulator,
    Faults,
    MachineGroup,
    MachineOutage,
    Preemption,
)
from handrail.traces import JobTrace

STORED = Path(__file__).with_name("golden_cluster.json")

COLUMNS = ("start_s", "finish_s", "service_s", "wasted_s", "attempts", "preemptions", "status")

MACHINES = (
    MachineGroup(name="small", machines=3, gpus=4, cpu_milli=32_000, memory_mib=64_000),
    MachineGroup(name="large", machines=2, gpus=8, cpu_milli=64_000, memory_mib=256_000, gpu_type="a100", speed=2.0),
)
FAULTS = Faults(
    outages=(MachineOutage(machine=3, start_s=2_000, end_s=9_000),),
    job_failure_probability=0.1,
    checkpoint_s=256,
    straggler_probability=0.05,
)
CONFIGS = {
    "processors, fcfs, easy": ClusterConfig(processors=24, backfill="easy"),
    "processors, sjf, conservative, killed": ClusterConfig(
        processors=24, discipline="sjf", backfill="conservative", kill_at_limit=True
    ),
    "processors, saf, easy, wait limit and quotas": ClusterConfig(
        processors=24, discipline="saf", backfill="easy", wait_limit_s=4096, overdue_passes=3, quotas={"b": 8}
    ),
    "processors, sjf, reference": ClusterConfig(
        processors=24, discipline="sjf", backfill="reference", protocol="rlscheduler"
    ),
    "machines, drf, easy, faults": ClusterConfig(groups=MACHINES, discipline="drf", backfill="easy", faults=FAULTS),
    "machines, sjf, easy, fgd": ClusterConfig(groups=MACHINES, discipline="sjf", backfill="easy", placement="fgd"),
    "machines, las": ClusterConfig(
        groups=MACHINES, discipline="las", preemption=Preemption(quantum_s=64, overhead_s=16, las_threshold_s=1024)
    ),
    "machines, srtf, faults": ClusterConfig(
        groups=MACHINES, discipline="srtf", preemption=Preemption(quantum_s=64, overhead_s=16), faults=FAULTS
    ),
}


def golden_trace(*, on_gpus: bool, n: int = 200) -> JobTrace:
    """Jobs from a seed; all times are whole seconds."""
    rng = np.random.default_rng(2024)
    run = rng.integers(1, 2_000, n)
    kinds = rng.choice([300, 500, 1000, 1000, 2000, 4000, 8000], n)
    return JobTrace(
        arrival_s=np.cumsum(rng.integers(0, 160, n)).astype(float),
        run_s=run.astype(float),
        estimate_s=np.maximum(run + rng.integers(-300, 3_000, n), 1).astype(float),
        tasks=rng.integers(1, 3, n) if on_gpus else rng.integers(1, 13, n),
        gpu_milli=kinds if on_gpus else np.zeros(n, dtype=np.int64),
        cpu_milli=rng.integers(1, 5, n) * 1000 if on_gpus else np.full(n, 1000),
        memory_mib=rng.integers(0, 9, n) * 1000,
        gpu_types=rng.integers(0, 2, n) if on_gpus else None,
        gpu_type_names=("a100",) if on_gpus else (),
        tenant=rng.integers(0, 3, n),
        tenant_names=("a", "b", "c"),
    )


@cache
def golden_run(name: str) -> ClusterResults:
    """One of the configs, replayed to its end."""
    config = CONFIGS[name]
    simulator = ClusterSimulator(config, golden_trace(on_gpus=bool(config.groups)), seed=3)
    simulator.advance()
    return simulator.results()


def digest(results: ClusterResults) -> str:
    """Hash of the columns, bit by bit."""
    found = hashlib.sha256()
    for column in COLUMNS:
        found.update(np.ascontiguousarray(np.nan_to_num(getattr(results, column), nan=-1.0)).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    hashes = {name: digest(golden_run(name)) for name in CONFIGS}
    STORED.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
