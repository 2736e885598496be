"""Replay recorded vLLM runs and set the simulated latencies beside the measured ones.

    python benchmarks/silicon.py RUN_DIR [RUN_DIR ...]

A run folder holds `requests.jsonl` (arrival, tokens, stamps of 300 requests), `meta.json` (engine settings) and
`profile/` (operator times of that GPU). The latency model is fitted to the operator times alone; nothing is fitted to
the run. Host time a step, which operator times do not hold, is swept: 0 is the model as it stands.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from llama_8b import CANDIDATES, KV_BLOCK_TOKENS, KV_BYTES_PER_TOKEN, MOST_KNOTS, WEIGHTS_BYTES
from operator_times import steps_from_operators
from piecewise_fit import fit, relative_errors

from handrail.envs.llm_serving import FleetConfig, LatencyModel, PiecewiseLinear, ReplicaConfig, ServingSimulator
from handrail.envs.llm_serving.config import CUDAGRAPH_SIZES
from handrail.traces import RequestTrace

STEP_OVERHEADS_S = (0.0, 0.0005, 0.001, 0.0015, 0.002)
QUANTILES = (0.5, 0.9, 0.99)
# Of a run that does not record its KV cache: a 96 GB card at 90 %, less the weights. Far more than such a run uses.
AMPLE_KV_TOKENS = (int(96e9 * 0.9) - WEIGHTS_BYTES) // (KV_BYTES_PER_TOKEN * KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS


def read_run(folder: Path) -> tuple[RequestTrace, dict[str, np.ndarray], dict[str, Any]]:
    """The trace, the measured columns (ttft_s, tpot_s, e2e_s) and the metadata of a run."""
    meta = json.loads((folder / "meta.json").read_text())
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines() if line]
    rows.sort(key=lambda row: row["arrival_time"])
    column = {key: np.array([row[key] for row in rows]) for key in rows[0] if key != "request_id"}
    # Arrivals are on the wall clock, the engine's stamps on a monotonic one. The offset is taken from the request that
    # the engine saw soonest, so a request that waited for the engine's loop keeps that wait in its latency.
    arrival = column["arrival_time"] + (column["queued_ts"] - column["arrival_time"]).min()
    trace = RequestTrace(
        arrival_s=arrival - arrival[0],
        prompt_tokens=column["input_toks"],
        output_tokens=column["output_toks"],
        name=folder.name,
    )
    measured = {
        "ttft_s": column["first_token_ts"] - arrival,
        "tpot_s": (column["last_token_ts"] - column["first_token_ts"]) / (column["output_toks"] - 1),
        "e2e_s": column["last_token_ts"] - arrival,
    }
    return trace, measured, meta


def replica_config(meta: dict[str, Any], latency: LatencyModel, step_overhead_s: float) -> ReplicaConfig:
    engine, resolved = meta["engine_kwargs"], meta.get("resolved_config", {})
    graphs = resolved.get("compilation_config", {}).get("cudagraph_capture_sizes", CUDAGRAPH_SIZES)
    return ReplicaConfig(
        gpu="recorded",
        latency=latency,
        max_num_seqs=engine["max_num_seqs"],
        max_num_batched_tokens=engine["max_num_batched_tokens"],
        kv_capacity_tokens=meta.get("kv_cache", {}).get("num_kv_tokens", AMPLE_KV_TOKENS),
        max_model_len=engine["max_model_len"] or 131_072,
        async_scheduling=resolved.get("scheduler_config", {}).get("async_scheduling", True),
        cudagraph_sizes=tuple(graphs),
        step_overhead_s=step_overhead_s,
    )


def simulate(trace: RequestTrace, config: ReplicaConfig) -> tuple[dict[str, np.ndarray], int]:
    """Simulated columns (ttft_s, tpot_s, e2e_s) and the count of preemptions."""
    simulator = ServingSimulator(FleetConfig(replicas=(config,)), trace)
    while simulator.advance() is not None:
        simulator.apply(0)
    results = simulator.results()
    columns = {
        "ttft_s": results.first_token_s - results.arrival_s,
        "tpot_s": (results.finish_s - results.first_token_s) / (results.output_tokens - 1),
        "e2e_s": results.finish_s - results.arrival_s,
    }
    return columns, int(results.preemptions.sum())


def compare(folder: Path) -> None:
    trace, measured, meta = read_run(folder)
    kv_tokens = meta.get("kv_cache", {}).get("num_kv_tokens", AMPLE_KV_TOKENS)
    steps = steps_from_operators(
        folder / "profile", most_tokens=meta["engine_kwargs"]["max_num_batched_tokens"], most_kv_tokens=kv_tokens
    )
    fitted = fit(steps, CANDIDATES, MOST_KNOTS)
    values = fitted.to_json()
    terms = {name: PiecewiseLinear(**term) for name, term in values.items() if name != "base_s"}
    latency = LatencyModel(base_s=values["base_s"], name=folder.name, **terms)
    print(f"{folder.name}: {len(trace)} requests, vLLM {meta['vllm_version']}, KV {kv_tokens} tokens")
    for kind, error in relative_errors(fitted, steps).items():
        print(f"  fit to {error['rows']} {kind} steps: median {error['median']:.1%}, p90 {error['p90']:.1%}")
    print(f"  {'step overhead':>14} {'preempted':>9}" + "".join(f"{name:>44}" for name in measured))
    print(f"  {'measured':>14} {'':>9}" + "".join(_cells(column, None) for column in measured.values()))
    for overhead_s in STEP_OVERHEADS_S:
        simulated, preemptions = simulate(trace, replica_config(meta, latency, overhead_s))
        cells = "".join(_cells(simulated[name], measured[name]) for name in measured)
        print(f"  {overhead_s * 1e3:>11.1f} ms {preemptions:>9}{cells}")


def _cells(column: np.ndarray, against: np.ndarray | None) -> str:
    values = np.quantile(column, QUANTILES)
    if against is None:
        return f"  {'  '.join(f'{value:.4g}' for value in values):>42}"
    errors = values / np.quantile(against, QUANTILES) - 1
    return f"  {'  '.join(f'{v:.4g} ({e:+.1%})' for v, e in zip(values, errors, strict=True)):>42}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR")
    print("p50, p90, p99 of each; a percentage is the simulated quantile against the measured one")
    for folder in parser.parse_args().runs:
        compare(folder)


if __name__ == "__main__":
    main()
