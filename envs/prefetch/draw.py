"""Draws the next accesses of one tenant from its own recent past: a block bootstrap that runs continue through.

Blocks as in Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of Statistics 1989.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SHORTEST, LONGEST = 64, 256
"""Accesses of a block."""


class Drawn(NamedTuple):
    """Accesses to come.

    Attributes:
        source: Past places that they were drawn from, shape (n,).
        key: Their ids, shape (n,).
        gap_s: Time from the access before to each, shape (n,).
    """

    source: Ints
    key: Ints
    gap_s: Floats


def draw_accesses(
    key: Ints,
    arrival_s: Floats,
    rng: np.random.Generator,
    most: int,
    span_s: float,
    first: NDArray[np.bool_] | None = None,
    above: int = 0,
) -> Drawn:
    """What one tenant accesses next.

    Blocks of consecutive past accesses, with the gaps before them, are drawn until there are ``most`` accesses or they
    span ``span_s``. A block starts where the tenant stood as it does now: behind two equal differences of ids (in a
    run), after which the run went on or ended as often as it did; or behind unequal ones. Where the block goes on with
    the run its ids are shifted up to the run's end, so that a scan goes on to ids that were never seen. The ids that a
    block was the first to ask for are shifted together to where none was ever seen: else nothing drawn would be new,
    and what is drawn would miss less than the past did.

    Args:
        key: Ids of the recent past, in order, shape (p,), p >= 1.
        arrival_s: Their times.
        rng: Source of chance.
        most: Accesses wanted.
        span_s: Time to cover.
        first: Which of the past accesses were the first of their ids; None for none.
        above: Ids from here on were never seen.
    """
    gap_s = np.diff(arrival_s, prepend=arrival_s[:1])
    step = np.diff(key, prepend=key[:1])
    runs = np.zeros(len(key), dtype=bool)  # whether the last two differences up to here are equal
    runs[2:] = (step[2:] == step[1:-1]) & (step[2:] != 0)
    scattered = np.flatnonzero(~runs[:-1]) + 1
    behind = np.flatnonzero(runs[:-1]) + 1
    sources, keys, gaps = [], [], []
    drawn, spanned_s = 0, 0.0
    before, last, in_run = (int(step[-1]), int(key[-1]), bool(runs[-1]))
    while drawn < most and spanned_s <= span_s:
        starts = behind[step[behind - 1] == before] if in_run else scattered
        start = int(starts[rng.integers(len(starts))]) if len(starts) else int(rng.integers(len(key)))
        place = np.arange(start, min(start + int(rng.integers(SHORTEST, LONGEST + 1)), len(key)))
        block = key[place].copy()
        if first is not None and first[place].any():
            new = block[first[place]]
            block[np.isin(block, new)] += above - int(new.min())
            above = int(block.max()) + 1
        if in_run:
            others = np.flatnonzero(step[place] != before)
            end = int(others[0]) if len(others) else len(place)
            onward = last + before * np.arange(1, end + 1)
            if end and onward[-1] >= 0:
                block[:end] = onward
        sources.append(place)
        keys.append(block)
        gaps.append(gap_s[place])
        drawn += len(place)
        spanned_s += float(gaps[-1].sum())
        at = int(place[-1])
        before, last, in_run = int(step[at]), int(block[-1]), bool(runs[at])
    return Drawn(np.concatenate(sources)[:most], np.concatenate(keys)[:most], np.concatenate(gaps)[:most])
