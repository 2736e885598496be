"""Synthetic observations of a cluster scheduler, built job by job through the public layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handrail.envs.cluster.layout import layout_for
from handrail.envs.common import Layout

LAYOUT = layout_for(4)
WAIT = 4
"""The action that starts nothing."""

PROCESSORS = 256

_QUIET = {"up": 1.0, "fits": 1.0, "size_share": 0.25, "estimate_s": 100.0, "slowdown": 1.0}


def job(**fields: float) -> dict[str, float]:
    """A waiting job that fits and harms nobody, but for the given fields; one that does not fit is not legal either."""
    made = _QUIET | fields
    if fields.get("fits") == 0:
        made["up"] = 0.0
    return made


def queue(
    *jobs: dict[str, float], layout: Layout = LAYOUT, may_wait: bool = True, **fields: float
) -> NDArray[np.float32]:
    """An observation with these jobs in the standing order, the rest of the window empty, and the global ``fields``."""
    observation = np.zeros(layout.size, dtype=np.float32)
    rows = layout.replica_matrix(observation)
    names = [field.name for field in layout.replica_fields]
    for slot, waiting in enumerate(jobs):
        for name, value in waiting.items():
            rows[slot, names.index(name)] = value
    rows[-1, names.index("is_wait")] = 1.0
    rows[-1, names.index("up")] = may_wait
    global_names = [field.name for field in layout.global_fields]
    for name, value in ({"cluster_size": PROCESSORS, "running_jobs": 3, "waiting_jobs": len(jobs)} | fields).items():
        layout.globals(observation)[global_names.index(name)] = value
    return observation


def random_queue(layout: Layout, rng: np.random.Generator, *, overdue: bool = True) -> NDArray[np.float32]:
    """A busy cluster: as many jobs as come, overdue ones first and without quotas, waiting legal nine times in ten."""
    n = int(rng.integers(0, layout.n_replicas))
    n_overdue = int(rng.integers(0, n + 1)) if overdue and rng.random() < 0.5 else 0
    passes = np.sort(rng.integers(0, 60, n_overdue))[::-1]
    jobs = []
    for slot in range(n):
        fits = float(rng.random() < 0.5)
        late = slot < n_overdue
        jobs.append(
            job(
                fits=fits,
                overdue=float(late),
                overdue_passed=0.0 if n_overdue == 0 or slot == 0 else 1.0 + passes[0],
                size_share=float(rng.integers(1, 65)) / PROCESSORS,
                estimate_s=float(rng.integers(1, 5)) * 60.0,
                wait_s=float(rng.random() * 1e4),
                submit_s=float(rng.random() * 1e6),
                head_delay_s=float(rng.integers(0, 2) * rng.random() * 100) if slot else 0.0,
                displaced_slowdown=float(rng.integers(0, 2) * rng.random()),
            )
        )
    return queue(*jobs, layout=layout, may_wait=bool(rng.random() < 0.9))
