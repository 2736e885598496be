"""Milliseconds of one fork of a running simulator, by domain, requests in flight and rows that have finished before.

    python benchmarks/fork_cost.py [--domains llm] [--finished 0 10000 100000] [--in-flight 1000] [--forks 200]

A domain is one function: ``busy(in_flight, finished)`` brings a simulator and its observer to that state and returns
both. What has finished is shared by a fork, so the figures of one domain should not grow with it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from handrail.envs.llm_serving import FleetConfig, RouterObserver, ServingSimulator
from handrail.traces import RequestTrace

Busy = Callable[[int, int], tuple[Any, Any]]


def busy_llm(in_flight: int, finished: int) -> tuple[ServingSimulator, RouterObserver]:
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
    return simulator, observer


DOMAINS: dict[str, Busy] = {"llm": busy_llm}


def fork_ms(simulator: Any, observer: Any, forks: int) -> list[float]:
    """Wall milliseconds of each of so many forks, observer included, with Python's garbage collector at rest."""
    spent_ms = []
    for _ in range(forks):
        # A fork is a cycle of objects: those before it are collected between the measurements.
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        observer.fork(simulator.fork())
        spent_ms.append((time.perf_counter() - start) * 1e3)
        gc.enable()
    return spent_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs="+", choices=sorted(DOMAINS), default=sorted(DOMAINS))
    parser.add_argument("--finished", nargs="+", type=int, default=[0, 10_000, 100_000])
    parser.add_argument("--in-flight", type=int, default=1_000)
    parser.add_argument("--forks", type=int, default=50)
    options = parser.parse_args()
    print(f"{'domain':10s} {'in flight':>10s} {'finished':>10s} {'median ms':>10s} {'p95 ms':>10s}")
    for domain in options.domains:
        for finished in options.finished:
            simulator, observer = DOMAINS[domain](options.in_flight, finished)
            spent_ms = sorted(fork_ms(simulator, observer, options.forks))
            p95_ms = spent_ms[int(0.95 * len(spent_ms))]
            state = f"{domain:10s} {options.in_flight:10,d} {finished:10,d}"
            print(f"{state} {statistics.median(spent_ms):10.2f} {p95_ms:10.2f}")


if __name__ == "__main__":
    main()
