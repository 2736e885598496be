"""Fit the step times of Llama-3.1-8B on one GPU to the operator measurements in `aiconfigurator-core`.

    pip install aiconfigurator-core==0.12.0 scipy
    python benchmarks/fit_latency.py --gpu h100 --out envs/llm_serving/profiles/h100.json

The package holds measured times of matrix products and attention kernels under vLLM and composes an iteration from
them. A grid of decode, prefill and mixed iterations is asked of it; a random half is fitted, the other half gives the
stated error. docs/latency.md says what is measured and what is modelled. Takes about a minute a GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from aiconfigurator_core.sdk.engine import EngineHandle
from llama_8b import CANDIDATES, KV_BLOCK_TOKENS, KV_BYTES_PER_TOKEN, MOST_KNOTS, WEIGHTS_BYTES
from piecewise_fit import Steps, fit, relative_errors

MODEL = "meta-llama/Meta-Llama-3.1-8B"
BACKEND = "vllm"
SYSTEMS = {"h100": "h100_sxm", "a100": "a100_sxm"}
DATA_VERSIONS = {"h100": "0.24.0", "a100": "0.14.0"}  # of vLLM, when the operators were measured
GIB = 1024**3
MEMORY_BYTES = 80 * GIB
GPU_MEMORY_UTILIZATION = 0.9
# Activations, CUDA context and CUDA graphs. At 2,048 tokens a step a recorded vLLM 0.19 run of this model (24 GB card)
# left 1.24 GB between 90 % of its memory and weights plus KV; at 8,192 tokens the package's own allowance is taken.
RESERVE_BYTES = {"h100": int(3.5 * GIB), "a100": 1_240_000_000}

DECODE_SEQUENCES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024)
DECODE_CONTEXTS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
CHUNKS = (16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
CONTEXTS_BEFORE = (0, 512, 1024, 2048, 4096, 8192, 16384, 24576)
LONGEST_PROMPT = 32768
BATCHED_PROMPTS = (128, 256, 512, 1024, 2048, 4096)
BATCH_SIZES = (2, 4, 8, 16, 32)
MIXED_CHUNKS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
MIXED_SEQUENCES = (1, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512)
MIXED_CONTEXTS = (256, 1024, 4096, 16384)
MOST_STEP_TOKENS = 8192
OUTPUT_TOKENS = 2  # the package takes the mean context as prompt + half of this


def kv_capacity_tokens(gpu: str) -> int:
    """KV tokens that fit, in whole blocks."""
    free = int(MEMORY_BYTES * GPU_MEMORY_UTILIZATION) - WEIGHTS_BYTES - RESERVE_BYTES[gpu]
    return free // (KV_BYTES_PER_TOKEN * KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS


def decode_rows(engine: EngineHandle, kv_capacity: int) -> Iterator[tuple]:
    for n in DECODE_SEQUENCES:
        for context in DECODE_CONTEXTS:
            kv_tokens = n * (context + OUTPUT_TOKENS / 2)
            if kv_tokens <= kv_capacity:
                yield "decode", 0, 0, n, kv_tokens, engine.decode_step_latency(n, context, OUTPUT_TOKENS) / 1e3


def prefill_rows(engine: EngineHandle) -> Iterator[tuple]:
    for chunk in CHUNKS:
        for before in CONTEXTS_BEFORE:
            if before + chunk <= LONGEST_PROMPT:
                work = chunk * (before + (chunk + 1) / 2)
                yield "prefill", chunk, work, 0, 0, engine.predict_prefill_latency(1, before + chunk, before) / 1e3
    for prompt in BATCHED_PROMPTS:
        for batch in BATCH_SIZES:
            if batch * prompt <= MOST_STEP_TOKENS:
                work = batch * prompt * (prompt + 1) / 2
                yield "prefill", batch * prompt, work, 0, 0, engine.predict_prefill_latency(batch, prompt) / 1e3


def mixed_rows(engine: EngineHandle, kv_capacity: int) -> Iterator[tuple]:
    """A step with prompt tokens and decodes; prompts are as long as the decodes' contexts, and of a prompt that takes
    several steps the package gives the mean step."""
    for chunk in MIXED_CHUNKS:
        for n in MIXED_SEQUENCES:
            for context in MIXED_CONTEXTS:
                kv_tokens = n * (context + OUTPUT_TOKENS / 2)
                if chunk + n <= MOST_STEP_TOKENS and kv_tokens <= kv_capacity:
                    seconds = engine.mixed_step_latency(chunk, n, context, OUTPUT_TOKENS) / 1e3
                    yield "mixed", chunk, chunk * (context + 1) / 2, n, kv_tokens, seconds


def data_sha256(gpu: str) -> dict[str, str]:
    """SHA-256 of the measured tables that the estimates of this GPU come from, by path in the package."""
    data = resources.files("aiconfigurator_core") / "systems" / "data" / SYSTEMS[gpu]
    tables = ("gemm/{}/gemm_perf", "attention/{}/context_attention_perf", "attention/{}/generation_attention_perf")
    paths = [table.format(f"{BACKEND}/{DATA_VERSIONS[gpu]}") + ".parquet" for table in tables]
    return {path: hashlib.sha256((data / path).read_bytes()).hexdigest() for path in paths}


def profile(gpu: str, seed: int) -> dict:
    """The whole profile file of a GPU."""
    engine = EngineHandle.compile(MODEL, SYSTEMS[gpu], BACKEND, tp_size=1)
    capacity = kv_capacity_tokens(gpu)
    steps = Steps.from_rows(
        [*decode_rows(engine, capacity), *prefill_rows(engine), *mixed_rows(engine, capacity)],
    )
    fitted_half = np.random.default_rng(seed).random(len(steps.seconds)) < 0.5
    fitted = fit(steps.select(fitted_half), CANDIDATES, MOST_KNOTS)
    return {
        "gpu": gpu,
        "model": "Llama-3.1-8B",
        "source": f"aiconfigurator-core, system {SYSTEMS[gpu]}, backend {BACKEND}, bf16, tensor parallel 1",
        "source_version": metadata.version("aiconfigurator-core"),
        "source_engine_version": f"{BACKEND} {DATA_VERSIONS[gpu]}",
        "source_sha256": data_sha256(gpu),
        "fit_command": f"python benchmarks/fit_latency.py --gpu {gpu} --seed {seed}",
        "fit_error": {"held_out_rows_absolute_relative_error": relative_errors(fitted, steps.select(~fitted_half))},
        **fitted.to_json(),
        "memory_bytes": MEMORY_BYTES,
        "weights_bytes": WEIGHTS_BYTES,
        "reserve_bytes": RESERVE_BYTES[gpu],
        "gpu_memory_utilization": GPU_MEMORY_UTILIZATION,
        "kv_bytes_per_token": KV_BYTES_PER_TOKEN,
        "kv_capacity_tokens": capacity,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", choices=sorted(SYSTEMS), required=True)
    parser.add_argument("--seed", type=int, default=0, help="draws the half of the grid that is fitted")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    values = profile(arguments.gpu, arguments.seed)
    arguments.out.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(values["fit_error"], indent=2))


if __name__ == "__main__":
    main()
