"""A small synthetic workload of batch jobs, and EASY's choice as an observation shows it."""

from __future__ import annotations

import numpy as np

from handrail.envs.cluster.config import ClusterConfig
from handrail.envs.cluster.layout import layout_for
from handrail.envs.cluster.observer import SchedulerObserver
from handrail.envs.cluster.simulator import ClusterSimulator
from handrail.traces import JobTrace

PROCESSORS = 64
WINDOW = 16
CLUSTER = ClusterConfig.parse(processors=PROCESSORS, discipline="sjf", backfill="easy", window=WINDOW)


def workload(n: int, seed: int, load: float = 0.9) -> JobTrace:
    """``n`` jobs of power-of-two sizes and lognormal run times that arrive in bursts, estimates exact."""
    rng = np.random.default_rng(seed)
    size = 2 ** rng.integers(0, 7, n)
    run_s = np.clip(rng.lognormal(5.5, 1.8, n).round(), 1.0, 1e5)
    gap_s = rng.lognormal(0.0, 1.5, n)
    arrival_s = np.cumsum(gap_s) / gap_s.sum() * float(size @ run_s) / PROCESSORS / load
    zeros = np.zeros(n, dtype=np.int64)
    return JobTrace(
        arrival_s=arrival_s - arrival_s[0],
        run_s=run_s,
        estimate_s=run_s,
        tasks=size,
        gpu_milli=zeros,
        cpu_milli=zeros + 1000,
        memory_mib=zeros,
        name=f"workload-{seed}",
    )


def easy_choice(observation: np.ndarray) -> int:
    """The first job of the standing order that fits and does not delay the head; else to wait, where that is legal."""
    layout = layout_for(WINDOW)
    up = layout.replica(observation, "up") > 0.0
    harmless = up & (layout.replica(observation, "head_delay_s") == 0.0)
    harmless[-1] = False
    if harmless.any():
        return int(harmless.argmax())
    return WINDOW if up[-1] else int(up.argmax())


def observations(n: int, seed: int) -> list[np.ndarray]:
    """What EASY sees of ``n`` jobs."""
    simulator = ClusterSimulator(CLUSTER, workload(n, seed), decide="job")
    observer = SchedulerObserver(simulator)
    seen = []
    while (point := simulator.advance()) is not None:
        seen.append(observer(point))
        simulator.apply(easy_choice(seen[-1]))
    return seen
