"""Cross-entropy search of a parameter vector on a score that replays compute.

Rubinstein & Kroese, "The Cross-Entropy Method" (2004). Every iteration draws a population from independent normals,
scores it on the same traffic (common random numbers are the caller's: the score may depend on the iteration alone),
and moves mean and deviation towards those of the best. Candidate 0 of every iteration is the mean itself.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...traces.errors import HandrailError
from ..parallel import ordered_map

Vector = NDArray[np.float64]
Candidate = tuple[Vector, int]
"""What is scored: a parameter vector and the number of the iteration that asks (0-based)."""

MIN_STD_SHARE = 0.02
"""Deviations never fall below this share of the first ones, so that a search cannot freeze early."""

CHECKPOINT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration found.

    Attributes:
        best_value: Lowest score of the population.
        best: The vector that has it.
        mean_value: Score of the mean that the population was drawn around.
        elite_value: Mean score of the elites.
        mean: Mean after the iteration, shape (n,).
        std: Deviation after the iteration, shape (n,).
    """

    best_value: float
    best: tuple[float, ...]
    mean_value: float
    elite_value: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CemResult:
    """All iterations of a search, oldest first."""

    start: tuple[float, ...]
    iterations: tuple[Iteration, ...]

    def finalists(self) -> list[Vector]:
        """Start, the mean after each iteration, and the last iteration's best: what a validation chooses among."""
        vectors = [self.start, *(i.mean for i in self.iterations)]
        if self.iterations:
            vectors.append(self.iterations[-1].best)
        return [np.array(v) for v in vectors]


def cem_search(
    evaluate: Callable[[Candidate], float],
    mean: ArrayLike,
    std: ArrayLike,
    *,
    population: int = 32,
    elites: int = 8,
    iterations: int = 10,
    seed: int = 0,
    workers: int = 1,
    smoothing: float = 0.8,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    on_score: Callable[[], None] | None = None,
    on_iteration: Callable[[int, Iteration], None] | None = None,
) -> CemResult:
    """Search for the vector with the lowest score.

    The result depends on the arguments and not on ``workers``, nor on whether the search was broken off and resumed.

    Args:
        evaluate: Scores a candidate, lower is better; not-a-number counts as +inf. Picklable if ``workers`` > 1.
        mean: Where the search starts, shape (n,).
        std: First deviation of each parameter, shape (n,), not negative (0 keeps a parameter as it is).
        population: Candidates an iteration, the mean included.
        elites: The best candidates, which mean and deviation follow.
        iterations: Iterations in all, those in the checkpoint included.
        seed: Seed of the draws; each iteration has a stream of its own.
        workers: Processes that score.
        smoothing: Weight of the elites against the mean and deviation before, in (0, 1].
        checkpoint: JSON file written after every iteration, from which an equal search resumes.
        fingerprint: Names everything else that the score depends on; a checkpoint with another one is refused.
        on_score: Called after each scored candidate, also for those that the checkpoint already holds.
        on_iteration: Called after each iteration with its number, also for those in the checkpoint.

    Raises:
        HandrailError: An argument is out of its range, or the checkpoint is not of this search.
    """
    start, first_std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    _check(start, first_std, population, elites, iterations, smoothing)
    settings = {
        "format": CHECKPOINT_FORMAT,
        "fingerprint": fingerprint,
        "start": start.tolist(),
        "std": first_std.tolist(),
        "population": population,
        "elites": elites,
        "seed": seed,
        "smoothing": smoothing,
    }
    done = _resume(checkpoint, settings)[:iterations] if checkpoint is not None else []
    for number, iteration in enumerate(done):
        if on_iteration is not None:
            on_iteration(number, iteration)
        if on_score is not None:
            for _ in range(population):
                on_score()
    with ordered_map(evaluate, workers) as score:
        while len(done) < iterations:
            number = len(done)
            center = np.array(done[-1].mean) if done else start
            spread = np.array(done[-1].std) if done else first_std
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
            vectors = center + spread * rng.standard_normal((population, start.size))
            vectors[0] = center
            values = np.empty(population)
            for i, value in enumerate(score([(vector, number) for vector in vectors])):
                values[i] = math.inf if math.isnan(value) else value
                if on_score is not None:
                    on_score()
            done.append(_step(vectors, values, center, spread, first_std, elites, smoothing))
            if checkpoint is not None:
                _write(checkpoint, settings, done)
            if on_iteration is not None:
                on_iteration(number, done[-1])
    return CemResult(tuple(start.tolist()), tuple(done))


def _step(
    vectors: Vector, values: Vector, center: Vector, spread: Vector, first_std: Vector, elites: int, smoothing: float
) -> Iteration:
    order = np.argsort(values, kind="stable")
    chosen = order[:elites]
    elite_value = float(values[chosen].mean())
    mean, std = center, spread
    if math.isfinite(elite_value):
        mean = smoothing * vectors[chosen].mean(axis=0) + (1.0 - smoothing) * center
        std = smoothing * vectors[chosen].std(axis=0) + (1.0 - smoothing) * spread
        std = np.maximum(std, MIN_STD_SHARE * first_std)
    return Iteration(
        best_value=float(values[order[0]]),
        best=tuple(vectors[order[0]].tolist()),
        mean_value=float(values[0]),
        elite_value=elite_value,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
    )


def _check(mean: Vector, std: Vector, population: int, elites: int, iterations: int, smoothing: float) -> None:
    if mean.ndim != 1 or mean.shape != std.shape or mean.size == 0:
        raise HandrailError(f"the search needs a mean and a deviation of one shape (n,), got {mean.shape}, {std.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise HandrailError("the search needs a finite mean and finite deviations that are not negative")
    if not 2 <= elites < population:
        raise HandrailError(f"--elites must be at least 2 and below --population, got {elites} of {population}")
    if iterations < 1:
        raise HandrailError(f"--iterations must be at least 1, got {iterations}")
    if not 0 < smoothing <= 1:
        raise HandrailError(f"smoothing must be in (0, 1], got {smoothing}")


def _resume(path: Path, settings: dict[str, object]) -> list[Iteration]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        iterations = [
            Iteration(
                best_value=float(row["best_value"]),
                best=tuple(row["best"]),
                mean_value=float(row["mean_value"]),
                elite_value=float(row["elite_value"]),
                mean=tuple(row["mean"]),
                std=tuple(row["std"]),
            )
            for row in content.pop("iterations")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HandrailError(f"{path}: not a readable checkpoint ({error}); delete it to start over") from None
    if content != settings:
        changed = sorted(k for k in settings if content.get(k) != settings[k])
        raise HandrailError(
            f"{path}: the checkpoint is of a search with another {', '.join(changed) or 'format'}; "
            "delete it to start over, or give the same options"
        )
    return iterations


def _write(path: Path, settings: dict[str, object], done: list[Iteration]) -> None:
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps({**settings, "iterations": [asdict(i) for i in done]}) + "\n", encoding="utf-8")
    os.replace(part, path)
