"""Requests a second of the replay, beside bare SimPy events and, where given, two peers on the same work, in one run.

    python benchmarks/replay_speed.py --data ../shared \
        [--dynamo-python VENV/bin/python] [--sched-sim-python VENV/bin/python]

The work is the first 5,000 requests of the Azure 2023 conversation trace, clipped to 4,096 tokens, at 1.95 requests/s a
replica, with the peers' KV blocks (7,500 of 16 tokens), token budget (4,096), 128 sequences and no prefix cache; then
the whole file unclipped at its own rate, a KV-bound case, and the Mooncake trace with its prefix cache. Every figure is
the median of the runs, which alternate; simulate_s counts the simulator's `advance` and `apply` alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import simpy

from handrail.envs.llm_serving import FleetConfig, ServingSimulator
from handrail.traces import RequestTrace, load_trace

PEER_ENGINE = {
    "max_num_batched_tokens": 4096,
    "max_num_seqs": 128,
    "kv_capacity_tokens": 7500 * 16,
    "prefix_caching": False,
}


def simulate_s(trace: RequestTrace, fleet: str, **engine: object) -> float:
    """Wall seconds inside the simulator, round robin."""
    simulator = ServingSimulator(FleetConfig.parse(fleet, **engine), trace)
    replicas, i = len(simulator.replicas), 0
    start = time.perf_counter()
    point = simulator.advance()
    while point is not None:
        simulator.apply(i % replicas)
        i += 1
        point = simulator.advance()
    return time.perf_counter() - start


def bare_event_s(processes: int = 100, n: int = 200_000) -> float:
    """Wall seconds of one event of a bare SimPy model: processes that each wait for a timeout again and again."""

    def process(env: simpy.Environment, delay_s: float) -> Generator[simpy.Event, None, None]:
        while True:
            yield env.timeout(delay_s)

    env = simpy.Environment()
    for i in range(processes):
        env.process(process(env, 1.0 + i / processes))
    step = env.step
    start = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - start) / n


def peer_s(python: str, script: Path, *arguments: str) -> float:
    """What a peer's script says it spent simulating."""
    done = subprocess.run([python, str(script), *arguments], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["simulate_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--dynamo-python")
    parser.add_argument("--sched-sim-python")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    azure = options.data / "traces/llm/azure_2023_conv_first35min.csv"
    peers = options.data / "peers"
    whole = load_trace(str(azure))
    mooncake = load_trace(str(options.data / "traces/llm/mooncake_conversation_first35min.jsonl"))

    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for replicas, stretch in ((1, "2.5"), (4, "0.625")):
            path = Path(folder) / f"work_{replicas}.csv"
            make = [sys.executable, str(peers / "make_work.py"), str(azure), "5000", stretch, str(path)]
            subprocess.run(make, check=True)
            columns = {"arrival_s": "arrived_at", "prompt_tokens": "num_prefill_tokens"}
            mapping = columns | {"output_tokens": "num_decode_tokens"}
            works[replicas] = (path, load_trace(str(path), mapping=mapping))

        cases = {
            f"peers' work, {r} replica(s)": (work, f"h100:{r}", PEER_ENGINE, str(path), r)
            for r, (path, work) in works.items()
        } | {
            "whole file, 1 replica": (whole, "h100:1", {}, None, 1),
            "whole file x 4, 4 replicas": (whole.superpose(4, 0), "h100:4", {}, None, 4),
            "whole file, KV-bound (24,000 tokens)": (whole, "h100:1", {"kv_capacity_tokens": 24_000}, None, 1),
            "Mooncake with prefix cache, 8 replicas": (mooncake, "h100:8", {}, None, 8),
        }
        ours: dict[str, list[float]] = {name: [] for name in cases}
        dynamo: dict[str, list[float]] = {name: [] for name in cases}
        sched: dict[str, list[float]] = {name: [] for name in cases}
        events: list[float] = []
        for _ in range(options.runs):
            events.append(bare_event_s())
            for name, (trace, fleet, engine, path, replicas) in cases.items():
                ours[name].append(simulate_s(trace, fleet, **engine))
                if path and options.dynamo_python:
                    script = peers / "run_dynamo_mocker.py"
                    dynamo[name].append(peer_s(options.dynamo_python, script, path, str(replicas)))
                if path and replicas == 1 and options.sched_sim_python:
                    sched[name].append(peer_s(options.sched_sim_python, peers / "run_sched_sim.py", path, "chunked"))

    event_s = statistics.median(events)
    print(f"bare SimPy event: {event_s * 1e6:.2f} microseconds; medians of {options.runs} alternating runs")
    header = ("case", "requests/s", "SimPy events a request", "x dynamo mocker", "x sched-sim")
    print("{:40s} {:>11s} {:>23s} {:>16s} {:>12s}".format(*header))
    for name, (trace, *_) in cases.items():
        seconds = statistics.median(ours[name])
        each = seconds / len(trace)
        over = [f"{statistics.median(peer[name]) / seconds:.1f}" if peer[name] else "-" for peer in (dynamo, sched)]
        print(f"{name:40s} {1 / each:11,.0f} {each / event_s:23.1f} {over[0]:>16s} {over[1]:>12s}")


if __name__ == "__main__":
    main()
