"""What goes wrong, drawn so that a job's luck does not depend on the schedule: paired comparisons stay paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .config import Faults

_FAILURE, _STRAGGLER, _MACHINES = 0, 1, 2

Draws = Mapping[int, NDArray[np.float64]] | NDArray[np.float64]
"""Uniform numbers by row, shape (attempts, columns) each."""


class JobLuck:
    """For each job and attempt: whether it fails by itself, after which share of what is left, whether it straggles."""

    def __init__(self, faults: Faults, failures: Draws | None, stragglers: Draws | None) -> None:
        self._faults = faults
        self._failures = failures if faults.job_failure_probability > 0.0 else None
        self._stragglers = stragglers if faults.straggler_probability > 0.0 else None

    @classmethod
    def drawn(cls, faults: Faults, n_jobs: int, seed: np.random.SeedSequence) -> JobLuck:
        """The luck of ``n_jobs`` jobs, from streams of their own."""

        def draws(probability: float, stream: int, columns: int) -> NDArray[np.float64] | None:
            if probability == 0.0:
                return None
            child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, stream))
            return np.random.default_rng(child).random((n_jobs, faults.max_attempts, columns))

        return cls(
            faults,
            draws(faults.job_failure_probability, _FAILURE, 2),
            draws(faults.straggler_probability, _STRAGGLER, 1),
        )

    def fails_after(self, row: int, failures: int) -> float | None:
        """Share of what is left after which the attempt fails; None where it does not."""
        if self._failures is None:
            return None
        draw, share = self._failures[row][min(failures, self._faults.max_attempts - 1)]
        return float(share) if draw < self._faults.job_failure_probability else None

    def slowdown(self, row: int, attempt: int) -> float:
        """By which factor the attempt takes longer."""
        if self._stragglers is None:
            return 1.0
        draw = self._stragglers[row][attempt % self._faults.max_attempts][0]
        return self._faults.straggler_slowdown if draw < self._faults.straggler_probability else 1.0


class MachineLife:
    """Alternating up and down times of one machine, exponential: up first.

    What is drawn is kept, so that forks share the life, and each asks for the times by their numbers.

    Args:
        faults: The means.
        seed: Seed of the times.
        first: Times that stand already.
    """

    __slots__ = ("_means_s", "_rng", "_seed", "_times_s")

    def __init__(self, faults: Faults, seed: np.random.SeedSequence, first: Sequence[float] = ()) -> None:
        assert faults.machine_mtbf_s is not None
        self._means_s = (faults.machine_mtbf_s, faults.machine_repair_s)
        self._seed = seed
        self._rng: np.random.Generator | None = None
        self._times_s = list(first)

    @classmethod
    def of_machine(cls, faults: Faults, machine: int, seed: np.random.SeedSequence) -> MachineLife:
        """The life of one of a cluster's machines."""
        return cls(faults, np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _MACHINES, machine)))

    def time_s(self, number: int) -> float:
        """How long the stretch of that number lasts; even ones are up, odd ones down."""
        times_s = self._times_s
        while len(times_s) <= number:
            if self._rng is None:
                self._rng = np.random.default_rng(self._seed)
            times_s.append(float(self._rng.exponential(self._means_s[len(times_s) % 2])))
        return times_s[number]
