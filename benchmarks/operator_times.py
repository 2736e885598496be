"""Engine steps put together from the operator times that a profiler measured on one layer of Llama-3.1-8B.

A profile folder holds `attention.csv` (one layer's attention for a chunk of prompt and n decodes at one context),
`dense.csv` (the other operators of a layer, by tokens) and `per_sequence.csv` (output head and sampler, by sequences),
in microseconds, in the format of LLMServingSim's profiler.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from piecewise_fit import Steps

LAYERS = 32
ONCE = ("embedding", "final_layernorm")
TWICE_A_LAYER = ("layernorm",)
ONCE_A_LAYER = ("qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj")


def _interpolated(table: pd.DataFrame, by: str, calls: dict[str, int], at: np.ndarray) -> np.ndarray:
    """Sum over the named operators of calls x time at the sizes `at` [microseconds], linear between measured sizes."""
    missing = set(table["layer"]) ^ set(calls)
    if missing:
        raise ValueError(f"operators do not match the model: {sorted(missing)}")
    total = np.zeros(len(at))
    for layer, rows in table.groupby("layer"):
        rows = rows.sort_values(by)
        total += calls[str(layer)] * np.interp(at, rows[by], rows["time_us"])
    return total


def steps_from_operators(folder: Path, *, most_tokens: int, most_kv_tokens: int) -> Steps:
    """A step for each measured attention shape that a server with these limits can meet."""
    attention = pd.read_csv(folder / "attention.csv")
    chunk, before, n, context = (
        attention[column].to_numpy(dtype=float) for column in ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    )
    fits = (chunk + n <= most_tokens) & (n * context + before + chunk <= most_kv_tokens) & (chunk + n > 0)
    chunk, before, n, context = chunk[fits], before[fits], n[fits], context[fits]
    dense_calls = (
        dict.fromkeys(ONCE, 1) | dict.fromkeys(ONCE_A_LAYER, LAYERS) | dict.fromkeys(TWICE_A_LAYER, 2 * LAYERS)
    )
    microseconds = (
        LAYERS * attention["time_us"].to_numpy()[fits]
        + _interpolated(pd.read_csv(folder / "dense.csv"), "tokens", dense_calls, chunk + n)
        + _interpolated(
            pd.read_csv(folder / "per_sequence.csv"), "sequences", {"lm_head": 1, "sampler": 1}, n + (chunk > 0)
        )
    )
    kind = np.where(chunk == 0, "decode", np.where(n == 0, "prefill", "mixed"))
    return Steps(kind, chunk, chunk * (before + (chunk + 1) / 2), n, n * context, microseconds / 1e6)
