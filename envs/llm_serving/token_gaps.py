"""Gaps between tokens, kept as step records and read as exact quantiles.

A record says that ``weight`` sequences each got a token at the end of each of ``count`` steps, step i (from 0) taking
``first + growth * i`` seconds. A run of a million requests has some hundred million gaps in a few million records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK = 1 << 22  # steps expanded at a time
_BINS = 1 << 16


def expand(first: Floats, growth: Floats, count: Ints) -> tuple[Floats, Ints]:
    """Step lengths of records one after the other, and the record each belongs to; both of shape (count.sum(),)."""
    owner = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    within = np.arange(len(owner)) - start[owner]
    return first[owner] + growth[owner] * within, owner


class TokenGaps:
    """A multiset of token gaps in seconds.

    Args:
        first, growth, count, weight: Columns of the records, shape (k,).
        single: Further gaps, one each.
    """

    def __init__(self, first: Floats, growth: Floats, count: Ints, weight: Ints, single: Floats) -> None:
        keep = (count > 0) & (weight > 0)
        self._first, self._growth = first[keep], growth[keep]
        self._count, self._weight = count[keep], weight[keep]
        self._single = single
        self.count = int((self._count * self._weight).sum()) + len(single)

    def mean(self) -> float:
        """Mean gap; nan without gaps."""
        if not self.count:
            return float("nan")
        n = self._count
        per_record = (self._first * n + self._growth * (n * (n - 1) * 0.5)) * self._weight
        return float((per_record.sum() + self._single.sum()) / self.count)

    def max(self) -> float:
        """Longest gap; nan without gaps."""
        if not self.count:
            return float("nan")
        longest = self._first + self._growth * (self._count - 1)
        return float(max(longest.max(initial=-np.inf), self._single.max(initial=-np.inf)))

    def share_above(self, limit_s: float) -> float:
        """Share of gaps longer than ``limit_s``; nan without gaps."""
        if not self.count:
            return float("nan")
        above = sum(int(weights[values > limit_s].sum()) for values, weights in self._chunks())
        return above / self.count

    def quantile(self, qs: Sequence[float]) -> Floats:
        """What ``numpy.quantile`` of all gaps gives (linear between order statistics); nan without gaps."""
        q = np.asarray(qs, dtype=np.float64)
        if not self.count:
            return np.full(q.shape, np.nan)
        position = q * (self.count - 1)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, self.count - 1)
        values = self._order_statistics(np.concatenate([below, above]))
        low, high = values[: len(q)], values[len(q) :]
        return low + (high - low) * (position - below)

    def _chunks(self) -> Iterator[tuple[Floats, Ints]]:
        """All gaps as (values, weights), some million at a time."""
        if len(self._single):
            yield self._single, np.ones(len(self._single), dtype=np.int64)
        ends = np.cumsum(self._count)
        start = 0
        while start < len(ends):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
            part = slice(start, stop)
            values, owner = expand(self._first[part], self._growth[part], self._count[part])
            yield values, self._weight[part][owner]
            start = stop

    def _order_statistics(self, ranks: Ints) -> Floats:
        """The gaps of these 0-based ranks: a histogram finds their bins, then only those bins are sorted."""
        low = float(min(self._first.min(initial=np.inf), self._single.min(initial=np.inf)))
        scale = (_BINS - 1) / max(self.max() - low, 1e-300)
        histogram = np.zeros(_BINS, dtype=np.int64)
        for values, weights in self._chunks():
            bins = ((values - low) * scale).astype(np.int64)
            np.clip(bins, 0, _BINS - 1, out=bins)
            histogram += np.bincount(bins, weights=weights, minlength=_BINS).astype(np.int64)
        upto = np.cumsum(histogram)
        wanted = np.searchsorted(upto, ranks, side="right")
        inside = np.zeros(_BINS, dtype=bool)
        inside[wanted] = True
        kept: list[tuple[Floats, Ints]] = []
        for values, weights in self._chunks():
            bins = ((values - low) * scale).astype(np.int64)
            np.clip(bins, 0, _BINS - 1, out=bins)
            take = inside[bins]
            kept.append((values[take], weights[take]))
        values = np.concatenate([v for v, _ in kept])
        weights = np.concatenate([w for _, w in kept])
        order = np.argsort(values, kind="stable")
        values, weights = values[order], np.cumsum(weights[order])
        # Ranks counted from the kept values: take off what lies in bins below that were not kept.
        dropped = np.cumsum(np.where(inside, 0, histogram))
        local = ranks - dropped[wanted]
        return values[np.searchsorted(weights, local, side="right")]
