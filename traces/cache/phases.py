"""Which objects the accesses of one phase are to, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .generator_config import Chase, Loop, Phase, Sequential, Streams, Strided, Zipf

Ints = NDArray[np.int64]


def layout_of(phase: Phase, rng: np.random.Generator) -> Ints:
    """What of a phase stays when it comes again, shape (objects,): the chain, or objects by falling popularity.

    Empty for phases that have nothing of the kind.
    """
    if isinstance(phase, Chase | Zipf):
        return rng.permutation(phase.objects)
    return np.zeros(0, np.int64)


def draw_objects(phase: Phase, layout: Ints, n: int, rng: np.random.Generator) -> Ints:
    """The objects of ``n`` accesses in a row, counted from the phase's first object, int64, shape (n,)."""
    if isinstance(phase, Sequential):
        return _runs(n, phase.objects, (1,), phase.run_mean, rng)
    if isinstance(phase, Strided):
        return _runs(n, phase.objects, (phase.step,), phase.run_mean, rng)
    if isinstance(phase, Streams):
        return _interleaved(phase, n, rng)
    if isinstance(phase, Chase):
        return _walk(phase, layout, n, rng)
    if isinstance(phase, Zipf):
        weights = np.cumsum(np.arange(1, phase.objects + 1, dtype=np.float64) ** -phase.alpha)
        ranks = np.searchsorted(weights, rng.random(n) * weights[-1], side="right")
        return layout[np.minimum(ranks, phase.objects - 1)]
    if isinstance(phase, Loop):
        return (rng.integers(phase.objects) + np.arange(n)) % phase.objects
    return rng.integers(phase.objects, size=n)


def _runs(n: int, objects: int, steps: tuple[int, ...], run_mean: float, rng: np.random.Generator) -> Ints:
    """Runs one after the other: each from a random object on, by a step drawn from ``steps``, around the end."""
    begins = rng.random(n) < 1 / run_mean
    begins[:1] = True
    run = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    start = rng.integers(objects, size=len(first))
    step = np.array(steps, np.int64)[rng.integers(len(steps), size=len(first))]
    return (start[run] + step[run] * (np.arange(n) - first[run])) % objects


def _interleaved(phase: Streams, n: int, rng: np.random.Generator) -> Ints:
    stream = rng.integers(phase.streams, size=n)
    objects = np.zeros(n, np.int64)
    for code in range(phase.streams):
        rows = np.flatnonzero(stream == code)
        objects[rows] = _runs(len(rows), phase.objects, phase.steps, phase.run_mean, rng)
    return objects


def _walk(phase: Chase, chain: Ints, n: int, rng: np.random.Generator) -> Ints:
    strays = rng.random(n) < phase.noise
    place = rng.integers(phase.objects) + np.cumsum(~strays)
    return np.where(strays, rng.integers(phase.objects, size=n), chain[place % phase.objects])
