"""Raising or lowering the arrival rate of any trace.

Three ways, since compressing time also compresses think times and daily cycles:

- ``superpose``: k = ceil(f) copies of the window, each shifted in time (circularly), on top of each other, then thinned
  to f / k. Default for f > 1 if k <= 32 and the window is long enough for so many copies. With more copies than 32 only
  65,000 items from the middle of the outcome are kept.
- ``thin``: each item (each session of requests) is kept with probability f. Default for f < 1.
- ``compress``: time runs faster; within a session think times stay. Default otherwise, unless think times make it miss
  the factor by more than 10 %; then ``superpose``.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ..traces.errors import HandrailError

LoadMethod = Literal["superpose", "thin", "compress"]
LOAD_METHODS: tuple[str, ...] = get_args(LoadMethod)

MAX_COPIES = 32
"""Most copies that the default rule superposes."""

KEPT_ITEMS = 65_000
"""Items that are kept of more than ``MAX_COPIES`` copies: with 50,000 of them measured, enough for a p99.9."""

MAX_SUPERPOSED = 20_000_000
"""Most items that are made by superposing."""

MIN_FACTOR, MAX_FACTOR = 1e-6, 1e6
"""Factors on the arrival rate beyond these are slips."""

FACTOR_TOLERANCE = 1e-9
"""A factor this close to 1 changes nothing."""

COMPRESS_ROUNDS = 12
"""Rounds in which compression makes up for sessions, whose think times do not shrink."""

COMPRESS_SHORTFALL = 0.9
"""Share of the factor that compression must reach to be the default."""


class Kind(NamedTuple):
    """What is rescaled.

    Attributes:
        items: The noun for rows of the trace, in the plural.
        item: The same in the singular.
        min_copy_s: Least seconds of the window for each superposed copy, so that copies are far apart compared with a
            burst.
    """

    items: str
    item: str
    min_copy_s: float


class Rescaled(NamedTuple):
    """A trace at another rate, and how it came to that.

    Attributes:
        trace: The changed trace.
        method: ``superpose``, ``thin``, ``compress``, or ``as-is``.
        copies: Copies that were superposed; 1 with other methods.
        compression: Factor by which time was compressed; 1 with other methods.
    """

    trace: Any
    method: str
    copies: int
    compression: float


def default_method(trace: Any, factor: float, kind: Kind) -> str:
    """The way that the rule above takes for ``factor``."""
    if factor <= 1.0:
        return "thin"
    copies = math.ceil(factor)
    long_enough = trace.duration_s >= copies * kind.min_copy_s
    return "superpose" if copies <= MAX_COPIES and long_enough else "compress"


def rescale(trace: Any, factor: float, method: str | None, seed: int, kind: Kind) -> Rescaled:
    """Multiply the arrival rate of ``trace`` by ``factor``.

    Args:
        trace: The window to be replayed.
        factor: Factor on the arrival rate, > 0.
        method: One of ``LOAD_METHODS``; by default what :func:`default_method` says.
        seed: Seed of shifts and of thinning.
        kind: What the trace holds.

    Raises:
        HandrailError: The factor or method is none, the method cannot reach the factor, or nothing is left.
    """
    if not (math.isfinite(factor) and MIN_FACTOR <= factor <= MAX_FACTOR):
        raise HandrailError(f"a rate factor must lie within {MIN_FACTOR:g} and {MAX_FACTOR:g}, not {factor:g}")
    if method is not None and method not in LOAD_METHODS:
        raise HandrailError(f"no way of changing the load is named {method!r}; choose one of {', '.join(LOAD_METHODS)}")
    if method == "thin" and factor > 1.0:
        raise HandrailError(f"thinning cannot raise the rate by {factor:.4g}; use superpose or compress")
    shift_seed, thin_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(2))
    copies, compression = 1, 1.0
    chosen = method or default_method(trace, factor, kind)
    changed = trace
    if abs(factor - 1.0) < FACTOR_TOLERANCE:
        chosen = "as-is"
    elif chosen == "thin":
        changed = trace.thin(factor, thin_seed)
    elif chosen == "compress":
        changed, compression = _compress(trace, factor)
        reached = _reached(trace, changed)
        if reached < COMPRESS_SHORTFALL * factor:
            if method is not None:
                raise HandrailError(
                    f"{trace.name}: think times within sessions stay, so compressing raises the rate by "
                    f"{reached:.4g} at most, not by {factor:.4g}; use --load-by superpose"
                )
            chosen, compression = "superpose", 1.0
    if chosen == "superpose":
        copies = math.ceil(factor)
        changed = _superpose(trace, factor, copies, shift_seed, thin_seed, kind)
    if len(changed) == 0:
        raise HandrailError(f"{trace.name}: no {kind.item} is left at {factor:.4g} times its rate; use a longer window")
    return Rescaled(changed, chosen, copies, compression)


def _superpose(trace: Any, factor: float, copies: int, shift_seed: int, thin_seed: int, kind: Kind) -> Any:
    if copies * len(trace) > MAX_SUPERPOSED:
        raise HandrailError(
            f"{trace.name}: superposing {copies:,} copies of {len(trace):,} {kind.items} is too much; use compress"
        )
    changed = trace.superpose(copies, shift_seed) if copies > 1 else trace
    if factor < copies:
        changed = changed.thin(factor / copies, thin_seed)
    return _middle(changed, KEPT_ITEMS) if copies > MAX_COPIES else changed


def _middle(trace: Any, n: int) -> Any:
    """``n`` successive items around the middle one, away from the ends, where sessions are cut off."""
    first = max((len(trace) - n) // 2, 0)
    rows = np.arange(first, min(first + n, len(trace)))
    return trace.take(rows, trace.arrival_s[rows] - trace.arrival_s[first])


def _compress(trace: Any, factor: float) -> tuple[Any, float]:
    """Compress until the rate has grown by ``factor``, which takes more than that if sessions keep think times."""
    compression = factor
    changed = trace.scale_rate(compression)
    for _ in range(COMPRESS_ROUNDS):
        reached = _reached(trace, changed)
        if abs(reached / factor - 1.0) < 0.005:
            break
        compression *= factor / reached
        changed = trace.scale_rate(compression)
    return changed, compression


def _reached(trace: Any, changed: Any) -> float:
    """By which factor the same items now come faster."""
    return trace.duration_s / changed.duration_s if changed.duration_s > 0 else math.inf
