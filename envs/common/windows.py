"""Which stretch of a trace an episode replays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError

SPLITS = {"train": (0.0, 0.5), "validation": (0.5, 0.7), "test": (0.7, 1.0), "all": (0.0, 1.0)}
"""Shares of a trace's time."""


class EpisodeWindows:
    """A seeded schedule of windows of consecutive items of one split, as row ranges [start, stop).

    Automatic resets of vector environments pass no seed, so the schedule itself moves on with every window.

    Args:
        arrival_s: Arrival times of the trace, non-decreasing, shape (n,).
        split: One of `SPLITS`.
        items: Items a window; ``None`` for the whole split.
        seed: Seed of the schedule.

    Raises:
        HandrailError: There is no such split, or it holds no items.
    """

    def __init__(self, arrival_s: NDArray[np.float64], *, split: str, items: int | None, seed: int) -> None:
        if split not in SPLITS:
            raise HandrailError(f"split {split!r} is none of {', '.join(SPLITS)}")
        if items is not None and items < 1:
            raise HandrailError(f"an episode needs at least one item, not {items}")
        n = len(arrival_s)
        low, high = SPLITS[split]
        first_s = float(arrival_s[0]) if n else 0.0
        span_s = float(arrival_s[-1]) - first_s if n else 0.0
        self.start = int(np.searchsorted(arrival_s, first_s + low * span_s, side="left"))
        self.stop = n if high == 1.0 else int(np.searchsorted(arrival_s, first_s + high * span_s, side="left"))
        if self.stop <= self.start:
            raise HandrailError(f"the {split} split of the trace holds no items; use a longer trace")
        self._n = n
        self._items = min(items, self.stop - self.start) if items is not None else self.stop - self.start
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    def restart(self, seed: int) -> None:
        """Begin the schedule anew."""
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    def next(self) -> tuple[int, int]:
        """The next window."""
        start = int(self._rng.integers(self.start, self.stop - self._items + 1))
        return start, start + self._items

    def check(self, window: Sequence[int]) -> tuple[int, int]:
        """A window that the caller chose.

        Raises:
            HandrailError: It is no range of rows of the trace.
        """
        try:
            start, stop = (int(i) for i in window)
        except (TypeError, ValueError):
            raise HandrailError(f"window {window!r} is no pair of rows (start, stop)") from None
        if not 0 <= start < stop <= self._n:
            raise HandrailError(f"window ({start}, {stop}) is no range of the trace's {self._n} rows")
        return start, stop
