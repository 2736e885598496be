"""What a trace looks like in numbers, and how far two traces are apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .request_trace import RequestTrace

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
TAIL_QUANTILES = {"p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


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


@dataclass(frozen=True)
class ColumnDistance:
    """How far one column of trace B is from that of trace A.

    Attributes:
        ks: Kolmogorov-Smirnov distance, the largest gap between the two distribution functions.
        wasserstein: First Wasserstein distance, in the column's unit.
        tail_ratio: Each tail quantile of B over that of A; ``None`` where A's is 0.
    """

    ks: float
    wasserstein: float
    tail_ratio: dict[str, float | None]


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
        prompt_tokens=_quantiles(trace.prompt_tokens),
        output_tokens=_quantiles(trace.output_tokens),
        length_pearson=_correlation(trace.prompt_tokens, trace.output_tokens),
        length_spearman=_correlation(_ranks(trace.prompt_tokens), _ranks(trace.output_tokens)),
        sessions=n_sessions,
        turns_per_session=len(sessions) / n_sessions if sessions is not None and n_sessions else None,
        tenants=_shares(trace.tenant, trace.tenant_names),
        models=_shares(trace.model, trace.model_names),
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
    return {name: _distance(x, y) for name, (x, y) in columns.items() if len(x) and len(y)}


def interarrival_cv(arrival_s: ArrayLike) -> float | None:
    """Standard deviation over mean of the gaps between arrivals (seconds, in order)."""
    gaps_s = np.diff(np.asarray(arrival_s, np.float64))
    if len(gaps_s) < 2 or gaps_s.mean() == 0:
        return None
    return float(gaps_s.std() / gaps_s.mean())


def fano_factor(arrival_s: ArrayLike, bin_s: float) -> float | None:
    """Variance over mean of the number of arrivals in whole bins of ``bin_s`` seconds from the first arrival."""
    counts = _counts(np.asarray(arrival_s, np.float64), bin_s)
    if len(counts) < 2:
        return None
    return float(counts.var() / counts.mean())


def peak_to_mean(arrival_s: ArrayLike, bin_s: float) -> float | None:
    """Arrivals in the busiest whole bin over the mean of all whole bins."""
    counts = _counts(np.asarray(arrival_s, np.float64), bin_s)
    if len(counts) < 2:
        return None
    return float(counts.max() / counts.mean())


def ks_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance of two samples."""
    x, y = np.sort(np.asarray(x, np.float64)), np.sort(np.asarray(y, np.float64))
    values = np.concatenate((x, y))
    below_x = np.searchsorted(x, values, side="right") / len(x)
    below_y = np.searchsorted(y, values, side="right") / len(y)
    return float(np.abs(below_x - below_y).max())


def wasserstein_distance(x: ArrayLike, y: ArrayLike) -> float:
    """First Wasserstein distance of two samples: the area between their distribution functions."""
    x, y = np.sort(np.asarray(x, np.float64)), np.sort(np.asarray(y, np.float64))
    values = np.sort(np.concatenate((x, y)), kind="stable")
    below_x = np.searchsorted(x, values[:-1], side="right") / len(x)
    below_y = np.searchsorted(y, values[:-1], side="right") / len(y)
    return float(np.sum(np.abs(below_x - below_y) * np.diff(values)))


def _counts(arrival_s: NDArray[np.float64], bin_s: float) -> NDArray[np.int64]:
    if len(arrival_s) == 0:
        return np.zeros(0, np.int64)
    whole_bins = int((arrival_s[-1] - arrival_s[0]) // bin_s)
    edges = arrival_s[0] + bin_s * np.arange(whole_bins + 1)
    return np.diff(np.searchsorted(arrival_s, edges, side="left"))


def _quantiles(values: NDArray[np.int64]) -> dict[str, float]:
    if len(values) == 0:
        return {}
    found = np.quantile(values, list(QUANTILES.values()))
    return {
        "mean": float(values.mean()),
        **{name: float(value) for name, value in zip(QUANTILES, found, strict=True)},
        "max": float(values.max()),
    }


def _correlation(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ranks from 0, ties get their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def _shares(codes: NDArray[np.int64] | None, names: tuple[str, ...]) -> dict[str, float]:
    if codes is None or len(codes) == 0:
        return {}
    counts = np.bincount(codes, minlength=len(names))
    return {name: float(count / len(codes)) for name, count in zip(names, counts, strict=True) if count}


def _distance(x: NDArray[Any], y: NDArray[Any]) -> ColumnDistance:
    ratios: dict[str, float | None] = {}
    for name, q in TAIL_QUANTILES.items():
        of_x, of_y = float(np.quantile(x, q)), float(np.quantile(y, q))
        ratios[name] = of_y / of_x if of_x > 0 else None
    return ColumnDistance(ks_distance(x, y), wasserstein_distance(x, y), ratios)
