"""Quantiles and summaries of latency-like columns in which what was lost stands as +inf."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""The quantiles of a latency-like metric by their keys."""

Summary = dict[str, float | None]


def quantiles(values: NDArray[np.float64], qs: Sequence[float]) -> list[float]:
    """``numpy.quantile(values, qs)`` (linear) that takes +inf for what it is.

    A quantile is +inf if any of its weight lies on an infinite value; nan if there are no values.
    """
    n = len(values)
    if n == 0:
        return [math.nan] * len(qs)
    infinite = np.isposinf(values)
    n_finite = n - int(np.count_nonzero(infinite))
    if n_finite == 0:
        return [math.inf] * len(qs)
    finite = values
    if n_finite < n:
        # Interpolating towards inf yields nan; no finite answer below reads these places, so any finite value will do.
        finite = np.where(infinite, values[~infinite].max(), values)
    found = np.quantile(finite, np.asarray(qs, dtype=np.float64))
    return [float(x) if math.ceil((n - 1) * q) < n_finite else math.inf for x, q in zip(found, qs, strict=True)]


def summarize(values: NDArray[np.float64]) -> Summary:
    """Mean, quantiles and maximum of a latency-like column; ``None`` for what is infinite or does not exist."""
    if len(values) == 0:
        return dict.fromkeys(["mean", *QUANTILES, "max"], None)
    found = dict(zip(QUANTILES, quantiles(values, list(QUANTILES.values())), strict=True))
    return jsonable({"mean": float(np.mean(values)), **found, "max": float(np.max(values))})


def jsonable(summary: dict[str, float]) -> Summary:
    """The same summary with ``None`` for what is infinite."""
    return {key: value if math.isfinite(value) else None for key, value in summary.items()}
