"""``handrail traces`` for request traces of LLM serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...traces import RequestTrace, load_trace
from ...traces.llm.describe import TraceSummary, compare_traces, describe
from ...traces.llm.generator import generate
from ...traces.llm.generator_config import BurstGPTLikeConfig
from ...traces.llm.load import BUNDLED, BUNDLED_PATH
from ...traces.llm.write import write_trace
from .trace_domain import Generator, Reading, Row, TraceDomain, number, share


def _read(name: str, reading: Reading) -> RequestTrace:
    reading.refuse("permute", "block_bytes", domain="prefetch")
    spread_seed = 0 if reading.spread_seed is None else reading.spread_seed
    return load_trace(
        name,
        failures=reading.failures or "drop",
        spread_seed=None if spread_seed == -1 else spread_seed,
        **reading.common(),
    )


def _rows(traces: Sequence[RequestTrace], summaries: Sequence[TraceSummary]) -> list[Row]:
    rows: list[Row] = [("requests", *(f"{s.requests:,}" for s in summaries))]
    failed = [f"{trace.notes.get('failed', 0):,} ({trace.notes.get('failures', 'keep')})" for trace in traces]
    rows.append(("failed in the recording", *failed))
    rows.append(("duration, s", *(f"{s.duration_s:,.1f}" for s in summaries)))
    for label, attribute in (
        ("rate, requests/s", "rate_per_s"),
        ("busiest minute / mean", "peak_to_mean_60s"),
        ("inter-arrival CV", "interarrival_cv"),
        ("Fano factor, 1 s", "fano_1s"),
        ("Fano factor, 60 s", "fano_60s"),
    ):
        rows.append((label, *(number(getattr(s, attribute)) for s in summaries)))
    for label, attribute in (("prompt tokens", "prompt_tokens"), ("output tokens", "output_tokens")):
        for quantile in ("mean", "p50", "p90", "p99", "p999", "max"):
            rows.append((f"{label} {quantile}", *(f"{getattr(s, attribute)[quantile]:,.0f}" for s in summaries)))
    rows.append(("length correlation, Pearson", *(number(s.length_pearson) for s in summaries)))
    rows.append(("length correlation, Spearman", *(number(s.length_spearman) for s in summaries)))
    rows.append(("sessions", *(f"{s.sessions:,}" if s.sessions is not None else "-" for s in summaries)))
    rows.append(("turns a session", *(number(s.turns_per_session) for s in summaries)))
    for label, attribute in (("tenant", "tenants"), ("model", "models")):
        for value in dict.fromkeys(value for s in summaries for value in getattr(s, attribute)):
            rows.append((f"{label} {value}", *(share(getattr(s, attribute).get(value, 0)) for s in summaries)))
    rows.append(("prefix blocks seen before", *(share(s.prefix_reuse) for s in summaries)))
    return rows


def _expected(config: Any) -> float:
    return config.rate_per_s * config.duration_s


LLM = TraceDomain(
    items="requests",
    bundled=BUNDLED,
    bundled_path=BUNDLED_PATH,
    fetched=True,
    read=_read,
    write=write_trace,
    describe=describe,
    compare=compare_traces,
    rows=_rows,
    generators={"burstgpt-like": Generator(BurstGPTLikeConfig, generate, _expected)},
    facts=lambda trace: {"failed": trace.notes["failed"]},
)
