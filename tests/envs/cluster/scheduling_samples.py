"""Small synthetic workloads that keep a cluster busy."""

from __future__ import annotations

import numpy as np

from handrail.traces import JobTrace

TENANTS = ("blue", "green", "red")


def gpu_jobs(n: int = 300, seed: int = 0, gap_s: float = 60.0, sizes: tuple[int, ...] = (1, 1, 2, 4, 8)) -> JobTrace:
    """Jobs of whole GPUs without users' estimates, three tenants, run times from seconds to a day."""
    rng = np.random.default_rng(seed)
    return JobTrace(
        arrival_s=np.cumsum(rng.exponential(gap_s, n)),
        run_s=np.clip(rng.lognormal(6.0, 2.0, n), 1.0, 86_400.0),
        estimate_s=np.full(n, np.nan),
        tasks=np.ones(n, dtype=np.int64),
        gpu_milli=1000 * rng.choice(np.array(sizes), n),
        cpu_milli=np.zeros(n, dtype=np.int64),
        memory_mib=np.zeros(n, dtype=np.int64),
        tenant=rng.integers(0, 3, n),
        tenant_names=TENANTS,
        name="gpu jobs",
        notes={"origin_s": 1000.0},
    )


def processor_jobs(n: int = 300, seed: int = 0, gap_s: float = 20.0, *, whole: bool = False) -> JobTrace:
    """Jobs of 1 to 32 processors with estimates that are too long or too short; ``whole``: times in whole seconds."""
    rng = np.random.default_rng(seed)
    run_s = np.clip(rng.lognormal(4.5, 1.8, n), 1.0, 10_000.0)
    arrival_s = np.cumsum(rng.exponential(gap_s, n))
    estimate_s = run_s * rng.choice([0.5, 1.0, 1.0, 3.0], n)
    if whole:
        arrival_s, run_s, estimate_s = np.floor(arrival_s), np.ceil(run_s), np.ceil(estimate_s)
    return JobTrace(
        arrival_s=arrival_s,
        run_s=run_s,
        estimate_s=estimate_s,
        tasks=rng.choice([1, 1, 2, 4, 8, 16, 32], n),
        gpu_milli=np.zeros(n, dtype=np.int64),
        cpu_milli=np.full(n, 1000),
        memory_mib=np.zeros(n, dtype=np.int64),
        tenant=rng.integers(0, 3, n),
        tenant_names=TENANTS,
        processors=64,
        name="processor jobs",
        notes={"origin_s": 500.0},
    )
