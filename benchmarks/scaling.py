"""How the simulator's time per request grows with the trace and with the fleet, and what a million requests need.

    python benchmarks/scaling.py --data ../shared [--requests 10000 100000 1000000] [--replicas 4 16 64 256]

The long trace is the Azure 2023 conversation trace end to end as often as needed, one H100, round robin, at its own
rate. The wide fleets get as many superposed copies as they have replicas, for a span that keeps the number of requests
about equal, under round robin (no observation) and expected drain (the observer's time counted). Each size runs in a
process of its own, sizes in turn, medians of the runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from handrail.envs.llm_serving import FleetConfig, RouterObserver, ServingSimulator, layout_for
from handrail.policies import make_heuristic
from handrail.traces import RequestTrace, load_trace

WIDE_REQUESTS = 14_000


def repeated(trace: RequestTrace, n: int) -> RequestTrace:
    """The trace again and again, ``n`` requests in all."""
    index = np.arange(n)
    rows = index % len(trace)
    period_s = trace.duration_s + 1.0
    return trace.take(rows, trace.arrival_s[rows] + (index // len(trace)) * period_s)


def wide(trace: RequestTrace, replicas: int) -> RequestTrace:
    """``replicas`` superposed copies of the trace, about `WIDE_REQUESTS` requests of it."""
    span_s = WIDE_REQUESTS / (len(trace) / trace.duration_s * replicas)
    return trace.superpose(replicas, 0).window(60.0, 60.0 + span_s)


def run(path: Path, kind: str, size: int, policy_name: str) -> dict[str, float]:
    """One measurement, in this process."""
    trace = load_trace(str(path))
    long = kind == "long"
    trace = repeated(trace, size) if long else wide(trace, size)
    replicas = 1 if long else size
    began = time.perf_counter()
    simulator = ServingSimulator(FleetConfig.parse(f"h100:{replicas}"), trace)
    layout = layout_for(replicas)
    policy = make_heuristic(policy_name, layout)
    observer = RouterObserver(simulator) if policy.needs_observation else None
    nothing = layout.high.copy()
    simulate_s, state = 0.0, None
    start = time.perf_counter()
    point = simulator.advance()
    while point is not None:
        observation = nothing if observer is None else observer(point)
        simulate_s += time.perf_counter() - start
        action, state = policy.predict(observation, state)
        start = time.perf_counter()
        simulator.apply(int(action))
        point = simulator.advance()
    simulate_s += time.perf_counter() - start
    quantiles = simulator.results().token_gaps.quantile((0.5, 0.99))
    return {
        "requests": len(trace),
        "us_per_request": simulate_s / len(trace) * 1e6,
        "wall_s": time.perf_counter() - began,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "tbt_p99_s": float(quantiles[1]),
    }


def measure(path: Path, kind: str, size: int, policy: str) -> dict[str, float]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, str(size), policy, "--trace", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--requests", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--replicas", type=int, nargs="*", default=[4, 16, 64, 256])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--trace", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, size, policy = options.one
        print(json.dumps(run(options.trace, kind, int(size), policy)))
        return
    path = options.data / "traces/llm/azure_2023_conv_first35min.csv"
    cases = [("long", n, "round-robin") for n in options.requests]
    cases += [("wide", r, policy) for policy in ("round-robin", "expected-drain") for r in options.replicas]
    taken: dict[tuple[str, int, str], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(options.runs):
        for case in cases:
            taken[case].append(measure(path, *case))
    print(f"{'case':34s} {'requests':>10s} {'us/request':>11s} {'growth':>7s} {'wall s':>7s} {'peak MB':>8s}")
    first: dict[tuple[str, str], float] = {}
    for kind, size, policy in cases:
        runs = taken[kind, size, policy]
        each = statistics.median(r["us_per_request"] for r in runs)
        base = first.setdefault((kind, policy), each)
        name = f"{size:,} {'requests' if kind == 'long' else 'replicas'}, {policy}"
        wall_s, peak = (statistics.median(r[key] for r in runs) for key in ("wall_s", "peak_rss_mb"))
        print(f"{name:34s} {runs[0]['requests']:10,.0f} {each:11.1f} {each / base:7.2f} {wall_s:7.1f} {peak:8,.0f}")


if __name__ == "__main__":
    main()
