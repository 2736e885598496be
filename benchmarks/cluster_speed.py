"""Jobs a second of the cluster simulator, beside a plain SimPy model, and how its time grows with the cluster.

    python benchmarks/cluster_speed.py --data ../shared [--runs 5]

Every figure is the median of the runs, which alternate; simulate_s is CPU time of `advance` alone, loading left out.

- Lublin-1 (10,000 jobs on 256 processors), first come first served, beside a model of the same in which every job is a
  SimPy process; both give the same starts.
- Lublin-1 with EASY and conservative backfilling.
- The shared part of Philly on 8-GPU servers that it loads to 0.8: FCFS, and SJF by predicted run times with EASY.
- Equal load (0.8) on 100, 1,000 and 10,000 servers: the same 20,000 synthetic jobs, arriving faster.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Generator
from math import ceil
from pathlib import Path

import numpy as np
import simpy

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, MachineGroup
from handrail.traces import JobTrace, load_job_trace

GROWTH_JOBS = 20_000
GROWTH_MACHINES = (100, 1_000, 10_000)


def simulate(config: ClusterConfig, trace: JobTrace) -> tuple[float, np.ndarray]:
    """CPU seconds in `advance`, and the starts."""
    simulator = ClusterSimulator(config, trace)
    began = time.process_time()
    simulator.advance()
    return time.process_time() - began, simulator.results().start_s


def plain_simpy(trace: JobTrace, processors: int) -> tuple[float, np.ndarray]:
    """First come first served with a process a job: the container's requests are met in the order they are made."""
    env = simpy.Environment()
    free = simpy.Container(env, processors, init=processors)
    starts = np.empty(len(trace))

    def job(row: int, tasks: int, run_s: float) -> Generator[simpy.Event, None, None]:
        yield free.get(tasks)
        starts[row] = env.now
        yield env.timeout(run_s)
        yield free.put(tasks)

    def source() -> Generator[simpy.Event, None, None]:
        columns = zip(trace.arrival_s.tolist(), trace.tasks.tolist(), trace.run_s.tolist(), strict=True)
        for row, (arrival_s, tasks, run_s) in enumerate(columns):
            if arrival_s > env.now:
                yield env.timeout(arrival_s - env.now)
            env.process(job(row, tasks, run_s))

    env.process(source())
    began = time.process_time()
    env.run()
    return time.process_time() - began, starts


def servers_of_8(machines: int) -> tuple[MachineGroup, ...]:
    """Servers with 8 GPUs."""
    return (MachineGroup(machines=machines, gpus=8),)


def synthetic(machines: int) -> JobTrace:
    """`GROWTH_JOBS` jobs that load ``machines`` 8-GPU servers to 0.8."""
    rng = np.random.default_rng(7)
    n = GROWTH_JOBS
    run_s = rng.lognormal(6.0, 1.5, n)
    gpus = rng.choice([1, 1, 1, 1, 2, 4, 8, 16], n)
    span_s = float(np.sum(run_s * gpus)) / (0.8 * 8 * machines)
    zeros, ones = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    arrival_s = np.sort(rng.uniform(0, span_s, n))
    return JobTrace(arrival_s, run_s, run_s, ones, 1000 * gpus, zeros, zeros)


def philly_servers(trace: JobTrace) -> int:
    """8-GPU servers that the trace loads to 0.8."""
    return ceil(float(trace.area_s.sum()) / trace.duration_s / 0.8 / 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    folder = options.data / "traces/cluster"
    lublin = load_job_trace(folder / "lublin_1_256procs.swf")
    philly = load_job_trace(folder / "philly_until_2017-11-20.csv.gz")
    servers = philly_servers(philly)
    on_lublin = {"processors": 256, "knowledge": "true"}
    on_philly = {"groups": servers_of_8(servers), "knowledge": "predicted"}
    cases: dict[str, tuple[int, Callable[[], tuple[float, np.ndarray]]]] = {
        "Lublin-1, plain SimPy processes, FCFS": (len(lublin), lambda: plain_simpy(lublin, 256)),
    }

    def add(name: str, trace: JobTrace, **settings: object) -> None:
        config = ClusterConfig.parse(**settings)
        cases[name] = (len(trace), lambda: simulate(config, trace))

    add("Lublin-1, FCFS", lublin, **on_lublin)
    add("Lublin-1, SJF + EASY", lublin, **on_lublin, discipline="sjf", backfill="easy")
    add("Lublin-1, FCFS + conservative", lublin, **on_lublin, backfill="conservative")
    add(f"Philly, {servers} servers, FCFS", philly, **on_philly)
    add(f"Philly, {servers} servers, SJF + EASY", philly, **on_philly, discipline="sjf", backfill="easy")
    for machines in GROWTH_MACHINES:
        trace = synthetic(machines)
        for backfill in ("none", "easy"):
            name = f"{machines:,} machines, load 0.8, FCFS + {backfill}"
            add(name, trace, groups=servers_of_8(machines), backfill=backfill)

    taken: dict[str, list[float]] = {name: [] for name in cases}
    starts: dict[str, np.ndarray] = {}
    for _ in range(options.runs):
        for name, (_, run) in cases.items():
            seconds, starts[name] = run()
            taken[name].append(seconds)
    plain, ours, *_ = cases
    # The plain model's clock adds delays up, so its times are off by roundings.
    same = bool(np.allclose(starts[plain], starts[ours], rtol=1e-9))
    print(f"CPU time, medians of {options.runs} alternating runs; FCFS starts agree with the plain model: {same}")
    print(f"{'case':44s} {'jobs':>7s} {'simulate_s':>11s} {'jobs/s':>9s} {'us/job':>8s}")
    for name, (jobs, _) in cases.items():
        seconds = statistics.median(taken[name])
        print(f"{name:44s} {jobs:7,d} {seconds:11.2f} {jobs / seconds:9,.0f} {seconds / jobs * 1e6:8.1f}")
    for backfill in ("none", "easy"):
        small, *_, large = (
            statistics.median(taken[f"{machines:,} machines, load 0.8, FCFS + {backfill}"])
            for machines in GROWTH_MACHINES
        )
        print(f"growth of time per job from 100 to 10,000 machines, FCFS + {backfill}: {large / small:.2f}x")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
