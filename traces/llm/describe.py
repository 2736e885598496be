"""What a trace looks like in numbers, and how far two traces are apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..common.statistics import (
    ColumnDistance,
    correlation,
    distance,
    fano_factor,
    interarrival_cv,
    peak_to_mean,
    quantiles,
    ranks,
    shares,
)
from .request_trace import RequestTrace


@dataclass(frozen=True)
class TraceSummary:
    """One trace in numbers; ``None`` where a trace is too short for a number to mean anything.

    Attributes:
        requests: Number of requests.
        failed: Requests with 0 response tokens among them.
        duration_s: Seconds from the first arrival to the last.
        rate_per_s: Requests a second, requests over duration.
        peak_to_mean_60s: Busiest whole minute (counted from the first arrival) over the mean of the whole minutes.
        interarrival_cv: Standard deviation over mean of the gaps between arrivals.
        fano_1s: Variance over mean of the counts in whole seconds from the first arrival (Poisson: 1).
        fano_60s: The same in whole minutes.
        prompt_tokens: Mean, quantiles (linear) and maximum.
        output_tokens: Likewise.
        length_pearson: Pearson correlation of prompt and output tokens.
        length_spearman: Their rank correlation.
        sessions: Number of sessions, ``None`` where the trace knows none.
        turns_per_session: Mean requests a session.
        tenants: Share of requests by tenant, empty where the trace knows none.
        models: Share of requests by model.
        prefix_blocks: Number of prefix blocks in all, ``None`` where the trace knows none.
        prefix_reuse: Share of blocks seen before in the trace (hits of an infinite cache).
        content_hash: SHA-256 of the columns.
    """

    requests: int
    failed: int
    duration_s: float
    rate_per_s: float | None
    peak_to_mean_60s: float | None
    interarrival_cv: float | None
    fano_1s: float | None
    fano_60s: float | None
    prompt_tokens: dict[str, float]
    output_tokens: dict[str, float]
    length_pearson: float | None
    length_spearman: float | None
    sessions: int | None
    turns_per_session: float | None
    tenants: dict[str, float]
    models: dict[str, float]
    prefix_blocks: int | None
    prefix_reuse: float | None
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(trace: RequestTrace) -> TraceSummary:
    """The summary of a trace."""
    sessions = trace.session_id[trace.session_id >= 0] if trace.session_id is not None else None
    n_sessions = len(np.unique(sessions)) if sessions is not None else None
    blocks = trace.prefix_blocks[1] if trace.prefix_blocks is not None else None
    return TraceSummary(
        requests=len(trace),
        failed=int((trace.output_tokens == 0).sum()),
        duration_s=trace.duration_s,
        rate_per_s=len(trace) / trace.duration_s if trace.duration_s > 0 else None,
        peak_to_mean_60s=peak_to_mean(trace.arrival_s, 60.0),
        interarrival_cv=interarrival_cv(trace.arrival_s),
        fano_1s=fano_factor(trace.arrival_s, 1.0),
        fano_60s=fano_factor(trace.arrival_s, 60.0),
        prompt_tokens=quantiles(trace.prompt_tokens),
        output_tokens=quantiles(trace.output_tokens),
        length_pearson=correlation(trace.prompt_tokens, trace.output_tokens),
        length_spearman=correlation(ranks(trace.prompt_tokens), ranks(trace.output_tokens)),
        sessions=n_sessions,
        turns_per_session=len(sessions) / n_sessions if sessions is not None and n_sessions else None,
        tenants=shares(trace.tenant, trace.tenant_names),
        models=shares(trace.model, trace.model_names),
        prefix_blocks=None if blocks is None else len(blocks),
        prefix_reuse=None if blocks is None or len(blocks) == 0 else 1.0 - len(np.unique(blocks)) / len(blocks),
        content_hash=trace.content_hash,
    )


def compare_traces(a: RequestTrace, b: RequestTrace) -> dict[str, ColumnDistance]:
    """Distances of prompt tokens, output tokens and inter-arrival times (``interarrival_s``), by column.

    Traces with fewer than two requests have no inter-arrival times: that entry is left out then.
    """
    columns = {
        "prompt_tokens": (a.prompt_tokens, b.prompt_tokens),
        "output_tokens": (a.output_tokens, b.output_tokens),
        "interarrival_s": (np.diff(a.arrival_s), np.diff(b.arrival_s)),
    }
    return {name: distance(x, y) for name, (x, y) in columns.items() if len(x) and len(y)}
