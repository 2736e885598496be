"""Metrics of a replay, as pure functions of its result columns; docs/metrics.md defines each from its timestamps.

A lost request (rejected, or unfinished at the end) has every latency at +inf, misses its objective and stays in every
denominator. ``results`` below is anything with the columns of :class:`~handrail.envs.llm_serving.ServingResults`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..common.tails import QUANTILES, Summary, jsonable, summarize
from .results import FINISHED, REJECTED, UNFINISHED

LOST_REASONS = {REJECTED: "rejected", UNFINISHED: "unfinished"}
"""Names of the ways to be lost, as ``lost`` shows them."""


class Objective(BaseModel):
    """The service-level objective of one request.

    Attributes:
        slo_ttft_s: Longest time to the first token that attains it, in seconds.
        slo_tbt_s: Longest mean time between the request's tokens (its TPOT) that attains it, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slo_ttft_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    slo_tbt_s: float = Field(default=0.1, gt=0, allow_inf_nan=False)


class TokenGaps(Protocol):
    """Pooled gaps between the tokens of measured requests, as the simulator keeps them."""

    count: int

    def quantile(self, qs: Sequence[float]) -> NDArray[np.float64]:
        """Quantiles, linear between order statistics as ``numpy.quantile`` has them."""
        ...

    def mean(self) -> float:
        """Mean gap in seconds."""
        ...

    def max(self) -> float:
        """Longest gap in seconds."""
        ...


def lost(results: Any) -> NDArray[np.bool_]:
    """Which requests were rejected or left unfinished, shape (n,)."""
    return np.asarray(results.status) != FINISHED


def ttft_s(results: Any) -> NDArray[np.float64]:
    """Time to first token of each request in seconds, shape (n,); +inf where the request was lost."""
    return _span(results, results.arrival_s, results.first_token_s)


def e2e_s(results: Any) -> NDArray[np.float64]:
    """Time from arrival to the last token in seconds, shape (n,); +inf where the request was lost."""
    return _span(results, results.arrival_s, results.finish_s)


def queueing_s(results: Any) -> NDArray[np.float64]:
    """Time from arrival to the first step that works on the request in seconds, shape (n,); +inf where it was lost."""
    return _span(results, results.arrival_s, results.scheduled_s)


def tpot_s(results: Any) -> NDArray[np.float64]:
    """Mean time between a request's tokens in seconds, shape (n,).

    0 for a finished request of one token, which has no gap; +inf where the request was lost.
    """
    span = _span(results, results.first_token_s, results.finish_s)
    return span / np.maximum(np.asarray(results.output_tokens) - 1, 1)


def attained(results: Any, objective: Objective) -> NDArray[np.bool_]:
    """Whether each request finished with TTFT <= ``slo_ttft_s`` and TPOT <= ``slo_tbt_s``, shape (n,)."""
    return (ttft_s(results) <= objective.slo_ttft_s) & (tpot_s(results) <= objective.slo_tbt_s)


def measured_span_s(results: Any) -> float:
    """Seconds from the first measured arrival to the last end (or arrival) of a measured request; 0 without any."""
    measured = np.asarray(results.measured)
    if not measured.any():
        return 0.0
    arrival = np.asarray(results.arrival_s)[measured]
    finish = np.asarray(results.finish_s)[measured]
    ends = finish[np.isfinite(finish)]
    last = max(float(arrival.max()), float(ends.max()) if ends.size else -math.inf)
    return last - float(arrival.min())


def summarize_gaps(gaps: TokenGaps, n_missing: int) -> Summary:
    """The same of pooled token gaps, to which ``n_missing`` gaps of +inf are added.

    Args:
        gaps: The gaps between the tokens that came.
        n_missing: Tokens that lost requests still owed, each a gap that never ended.
    """
    total = gaps.count + n_missing
    if total == 0:
        return dict.fromkeys(["mean", *QUANTILES, "max"], None)
    # A quantile's position among all gaps, as a quantile of those that ended: they come first.
    positions = {key: (total - 1) * q for key, q in QUANTILES.items()}
    inside = {key: at / max(gaps.count - 1, 1) for key, at in positions.items() if at <= gaps.count - 1}
    if n_missing == 0:
        inside = QUANTILES
    found = dict(zip(inside, np.asarray(gaps.quantile(list(inside.values())), dtype=float), strict=True))
    mean, longest = (math.inf, math.inf) if n_missing else (gaps.mean(), gaps.max())
    return jsonable({"mean": mean, **{key: found.get(key, math.inf) for key in QUANTILES}, "max": longest})


def missing_gaps(results: Any) -> int:
    """Token gaps that lost measured requests never ended: the tokens they still owed, the first one aside."""
    rows = np.asarray(results.measured) & lost(results)
    owed = np.maximum(np.asarray(results.output_tokens)[rows] - 1, 0)
    ended = np.maximum(np.asarray(results.tokens_generated)[rows] - 1, 0)
    return int(np.sum(owed - ended))


def lost_counts(results: Any) -> dict[str, int]:
    """Measured requests lost, by reason."""
    status = np.asarray(results.status)[np.asarray(results.measured)]
    return {name: int(np.count_nonzero(status == code)) for code, name in LOST_REASONS.items()}


def compute_metrics(results: Any, objective: Objective) -> dict[str, Any]:
    """All metrics of one replay over its measured requests, in JSON's types.

    Raises:
        ValueError: No request is measured.
    """
    measured = np.asarray(results.measured)
    n_measured = int(np.count_nonzero(measured))
    if n_measured == 0:
        raise ValueError("no request is measured")
    span_s = measured_span_s(results)
    n_attained = int(np.count_nonzero(attained(results, objective)[measured]))
    several = measured & ((np.asarray(results.output_tokens) > 1) | lost(results))
    tokens = int(np.sum(np.asarray(results.tokens_generated)[measured]))
    finished = measured & ~lost(results)
    return {
        "measured_requests": n_measured,
        "measured_span_s": span_s,
        "lost": lost_counts(results),
        "ttft_s": summarize(ttft_s(results)[measured]),
        "tpot_s": summarize(tpot_s(results)[several]),
        "tbt_s": summarize_gaps(results.token_gaps, missing_gaps(results)),
        "e2e_s": summarize(e2e_s(results)[measured]),
        "queueing_s": summarize(queueing_s(results)[measured]),
        "slo_attainment": n_attained / n_measured,
        "goodput_rps": _rate(n_attained, span_s),
        "throughput_rps": _rate(int(np.count_nonzero(finished)), span_s),
        "output_tokens_per_s": _rate(tokens, span_s),
        "preemptions": int(np.sum(np.asarray(results.preemptions)[measured])),
    }


def _span(results: Any, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lost(results), math.inf, np.asarray(end) - np.asarray(start))


def _rate(count: int, span_s: float) -> float | None:
    return count / span_s if span_s > 0 else None
