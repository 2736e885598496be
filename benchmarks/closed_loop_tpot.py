"""Time per output token of a profile against measured closed-loop runs, without a simulator in between.

    python benchmarks/closed_loop_tpot.py SILICON_SAMPLE_CSV [--gpu h100]

SILICON_SAMPLE_CSV is `systems/silicon_sample.csv` of the package `aiconfigurator-core`: end-to-end runs with B requests
in flight, each of isl prompt and osl output tokens. In the steady state a token of one request takes a decode step of B
sequences at mean context isl + osl / 2, and its share B / osl of what a prompt adds to a step.

The runs taken are those of the same model on one GPU without quantisation. They are another engine's (TensorRT-LLM), so
this bounds the error of the profile's step times only roughly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from handrail.envs.llm_serving import LatencyModel

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def tpot_s(model: LatencyModel, in_flight: int, isl: int, osl: int) -> float:
    kv_tokens = in_flight * (isl + osl / 2)
    decode_s = model.step_s(0, 0.0, in_flight, kv_tokens)
    prompt_s = model.step_s(isl, isl * (isl + 1) / 2, in_flight, kv_tokens) - decode_s
    return decode_s + in_flight / osl * prompt_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--gpu", default="h100")
    arguments = parser.parse_args()
    model = LatencyModel.from_profile(arguments.gpu)
    runs = pd.read_csv(arguments.csv, low_memory=False)
    runs = runs[
        (runs["model_path"] == MODEL)
        & (runs["system"] == f"{arguments.gpu}_sxm")
        & (runs["mode"] == "agg")
        & (runs["tp_size"] == 1)
        & runs["gemm_quant_mode"].isna()
    ]
    if runs.empty:
        parser.error(f"no runs of {MODEL} on {arguments.gpu} in {arguments.csv}")
    errors = []
    print("backend  isl   osl  in flight  measured ms  model ms   error")
    for run in runs.sort_values(["isl", "osl", "batch_size"]).itertuples():
        model_ms = 1e3 * tpot_s(model, int(run.batch_size), int(run.isl), int(run.osl))
        errors.append(model_ms / run.silicon_tpot_ms - 1)
        print(
            f"{run.backend:7s}{run.isl:5.0f}{run.osl:6.0f}{run.batch_size:11.0f}"
            f"{run.silicon_tpot_ms:13.2f}{model_ms:10.2f}{errors[-1]:+8.1%}"
        )
    size = np.abs(errors)
    print(
        f"{len(errors)} runs: median error {np.median(errors):+.1%}; absolute: median {np.median(size):.1%},", end=" "
    )
    print(f"p90 {np.quantile(size, 0.9):.1%}, largest {size.max():.1%}")


if __name__ == "__main__":
    main()
