"""Statistics of arrival times and columns, and how far two columns are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
TAIL_QUANTILES = {"p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


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


def quantiles(values: NDArray[Any]) -> dict[str, float]:
    if len(values) == 0:
        return {}
    found = np.quantile(values, list(QUANTILES.values()))
    return {
        "mean": float(values.mean()),
        **{name: float(value) for name, value in zip(QUANTILES, found, strict=True)},
        "max": float(values.max()),
    }


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    return float(np.corrcoef(x, y)[0, 1])


def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 0, ties get their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def shares(codes: NDArray[np.int64] | None, names: tuple[str, ...]) -> dict[str, float]:
    if codes is None or len(codes) == 0:
        return {}
    counts = np.bincount(codes, minlength=len(names))
    return {name: float(count / len(codes)) for name, count in zip(names, counts, strict=True) if count}


def distance(x: NDArray[Any], y: NDArray[Any]) -> ColumnDistance:
    ratios: dict[str, float | None] = {}
    for name, q in TAIL_QUANTILES.items():
        of_x, of_y = float(np.quantile(x, q)), float(np.quantile(y, q))
        ratios[name] = of_y / of_x if of_x > 0 else None
    return ColumnDistance(ks_distance(x, y), wasserstein_distance(x, y), ratios)
