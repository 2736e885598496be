"""Small job traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handrail.traces import JobTrace


def jobs(n: int = 300, seed: int = 1, *, gpus: bool = False, estimates: bool = True, gap_s: float = 30.0) -> JobTrace:
    """Poisson arrivals of jobs that run for minutes: of 1 to 8 processors, or (of three tenants) GPUs."""
    rng = np.random.default_rng(seed)
    run_s = np.round(rng.lognormal(5.0, 1.0, n)) + 1.0
    size = 2 ** rng.integers(0, 4, n)
    return JobTrace(
        arrival_s=np.round(np.cumsum(rng.exponential(gap_s, n)), 1),
        run_s=run_s,
        estimate_s=run_s * 2 if estimates else np.full(n, np.nan),
        tasks=np.ones(n, int) if gpus else size,
        gpu_milli=size * 1000 if gpus else np.zeros(n, int),
        cpu_milli=np.full(n, 1000),
        memory_mib=np.zeros(n, int),
        tenant=rng.integers(0, 3, n) if gpus else None,
        tenant_names=("a", "b", "c") if gpus else (),
        processors=None if gpus else 32,
        name="jobs",
    )


def write_swf(path: Path, trace: JobTrace) -> Path:
    """The trace as a Standard Workload Format file, with its processors in the header."""
    lines = [f"; MaxProcs: {trace.processors}"]
    for k in range(len(trace)):
        estimate_s = trace.estimate_s[k]
        known = -1 if np.isnan(estimate_s) else f"{estimate_s:.0f}"
        times = f"{trace.arrival_s[k]:.0f} -1 {trace.run_s[k]:.0f}"
        lines.append(f"{k + 1} {times} {trace.tasks[k]} -1 -1 {trace.tasks[k]} {known} -1 1 1 1 -1 -1 -1 -1 -1")
    path.write_text("\n".join(lines) + "\n")
    return path
