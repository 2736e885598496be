"""Milliseconds of one fork of a running simulator, by domain and by how many items have finished before.

    python benchmarks/fork_cost.py [--domains llm] [--finished 3000 30000 100000] [--in-flight 1000] [--forks 200]

A domain is one function: ``busy(in_flight, finished)`` brings a simulator and its observer to that state, with a
decision open, and returns both with what is in flight there: requests in the system, jobs that run or wait, transfers
under way. What has finished is shared by a fork, so the figures of one domain should not grow with it.

Processor time of the thread, observer included, with Python's garbage collector at rest. *First*: the first fork of a
simulator, which also puts away what has finished until then.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, MachineGroup, SchedulerObserver
from handrail.envs.llm_serving import FleetConfig, RouterObserver, ServingSimulator
from handrail.envs.prefetch import CacheConfig, PrefetchObserver, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace, JobTrace, RequestTrace

Busy = Callable[[int, int], tuple[Any, Any, int]]


def busy_llm(in_flight: int, finished: int) -> tuple[ServingSimulator, RouterObserver, int]:
    """Eight H100s with prefix caches: short requests until enough have finished, then a burst that piles up."""
    rng = np.random.default_rng(0)
    n = finished + 2 * in_flight
    gaps_s = np.where(np.arange(n) < finished, 1 / 60, 1e-5)
    blocks = rng.integers(0, 2, n)
    trace = RequestTrace(
        arrival_s=np.cumsum(gaps_s),
        prompt_tokens=512 * blocks + rng.integers(16, 400, n),
        output_tokens=rng.geometric(1 / 60, n),
        prefix_blocks=(np.concatenate([[0], np.cumsum(blocks)]), rng.integers(0, 3_000, int(blocks.sum()))),
        prefix_block_tokens=512,
    )
    simulator = ServingSimulator(FleetConfig.parse("h100:8"), trace)
    observer = RouterObserver(simulator)
    point = simulator.advance()
    while point is not None and (simulator.arrived < finished or simulator.in_system < in_flight):
        observer(point)
        simulator.apply(point.number % 8)
        point = simulator.advance()
    return simulator, observer, simulator.in_system


def busy_cluster(in_flight: int, finished: int) -> tuple[ClusterSimulator, SchedulerObserver, int]:
    """180 servers of eight GPUs, predicted run times: jobs that have ended, then many that come at once; half start."""
    rng = np.random.default_rng(0)
    n = finished + in_flight
    arrival_s, run_s = np.cumsum(rng.exponential(1.0, n)), rng.lognormal(5.0, 1.5, n)
    arrival_s[finished:] = arrival_s[max(finished - 1, 0)] + 1e6
    run_s[finished:] = 1e5 + rng.random(in_flight) * 1e5
    zeros = np.zeros(n, dtype=np.int64)
    gpus = 1000 * rng.choice([1, 1, 1, 2, 4, 8], n)
    tenants = {"tenant": rng.integers(0, 20, n), "tenant_names": tuple(f"tenant{i}" for i in range(20))}
    trace = JobTrace(arrival_s, run_s, run_s, zeros + 1, gpus, zeros, zeros, **tenants)
    groups = (MachineGroup(machines=180, gpus=8),)
    config = ClusterConfig(groups=groups, discipline="sjf", knowledge="predicted", wait_limit_s=1_209_600.0)
    simulator = ClusterSimulator(config, trace, decide="job", decide_from_s=float(arrival_s[-1]))
    observer = SchedulerObserver(simulator)
    point, state = simulator.advance(), simulator.state
    while point is not None and len(state.waiting) > in_flight // 2:
        observer(point)
        simulator.apply(int(point.action_mask.argmax()))
        point = simulator.advance()
    return simulator, observer, len(state.running) + len(state.waiting)


def busy_prefetch(in_flight: int, finished: int) -> tuple[PrefetchSimulator, PrefetchObserver, int]:
    """10,000 objects in the cache under five arms by turns; misses are so slow that many are under way."""
    rng = np.random.default_rng(np.random.SeedSequence(1))
    n, objects = finished + 4_000, 10_000
    key = rng.permutation(4 * objects)[(rng.random(n) ** 2 * 4 * objects).astype(int)]
    trace = AccessTrace(np.cumsum(rng.exponential(1e-3, n)), key, np.full(n, 4096))
    tier = TierConfig(latency_s=0.55 * in_flight * 1e-3 / 0.45, service_s=1e-6, bandwidth_bytes_per_s=1e12)
    menu = ("none", "obl:1", "stride:4", "amp:4", "best-offset:2")
    config = CacheConfig(objects=objects, tier=tier, menu=menu, every_accesses=64)
    simulator = PrefetchSimulator(config, trace, decide="policy")
    observer = PrefetchObserver(simulator)
    point = simulator.advance()
    while point is not None and simulator.accesses < finished:
        observer(point)
        simulator.apply(point.decision % len(menu))
        point = simulator.advance()
    under_way = simulator.outstanding + simulator.prefetches_in_flight
    return simulator, observer, under_way


DOMAINS: dict[str, Busy] = {"llm": busy_llm, "cluster": busy_cluster, "prefetch": busy_prefetch}


def fork_ms(simulator: Any, observer: Any, forks: int) -> NDArray[np.float64]:
    """Milliseconds of each of so many forks, observer included."""
    spent_ms = np.empty(forks)
    for i in range(forks):
        # A fork is a cycle of objects: those before it are collected between the measurements.
        gc.collect()
        gc.disable()
        start = time.thread_time()
        observer.fork(simulator.fork())
        spent_ms[i] = (time.thread_time() - start) * 1e3
        gc.enable()
    return spent_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs="+", choices=list(DOMAINS), default=list(DOMAINS))
    parser.add_argument("--finished", nargs="+", type=int, default=[3_000, 30_000, 100_000])
    parser.add_argument("--in-flight", type=int, default=1_000)
    parser.add_argument("--forks", type=int, default=200)
    options = parser.parse_args()
    print("| domain | in flight | finished | median ms | p99 ms | first ms |\n|---|--:|--:|--:|--:|--:|")
    for domain in options.domains:
        for finished in options.finished:
            simulator, observer, in_flight = DOMAINS[domain](options.in_flight, finished)
            spent_ms = fork_ms(simulator, observer, options.forks)
            median, p99 = np.quantile(spent_ms, (0.5, 0.99))
            figures = f"{median:.2f} | {p99:.2f} | {spent_ms[0]:.2f}"
            print(f"| {domain} | {in_flight:,d} | {finished:,d} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
