"""What goes wrong, drawn so that a job's luck does not depend on the schedule: paired comparisons stay paired."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import Faults

_FAILURE, _STRAGGLER, _MACHINES = 0, 1, 2


class JobLuck:
    """For each job and attempt: whether it fails by itself, after which share of what is left, whether it straggles."""

    def __init__(self, faults: Faults, n_jobs: int, seed: np.random.SeedSequence) -> None:
        self._faults = faults
        self._failures = self._draws(faults.job_failure_probability, n_jobs, seed, _FAILURE, columns=2)
        self._stragglers = self._draws(faults.straggler_probability, n_jobs, seed, _STRAGGLER, columns=1)

    def _draws(
        self, probability: float, n_jobs: int, seed: np.random.SeedSequence, stream: int, columns: int
    ) -> NDArray[np.float64] | None:
        if probability == 0.0:
            return None
        child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, stream))
        return np.random.default_rng(child).random((n_jobs, self._faults.max_attempts, columns))

    def fails_after(self, row: int, failures: int) -> float | None:
        """Share of what is left after which the attempt fails; None where it does not."""
        if self._failures is None:
            return None
        draw, share = self._failures[row, min(failures, self._faults.max_attempts - 1)]
        return float(share) if draw < self._faults.job_failure_probability else None

    def slowdown(self, row: int, attempt: int) -> float:
        """By which factor the attempt takes longer."""
        if self._stragglers is None:
            return 1.0
        draw = self._stragglers[row, attempt % self._faults.max_attempts, 0]
        return self._faults.straggler_slowdown if draw < self._faults.straggler_probability else 1.0


class MachineLife:
    """Alternating up and down times of one machine, exponential."""

    def __init__(self, faults: Faults, machine: int, seed: np.random.SeedSequence) -> None:
        child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _MACHINES, machine))
        self._rng = np.random.default_rng(child)
        self._mtbf_s = faults.machine_mtbf_s
        self._repair_s = faults.machine_repair_s

    def up_s(self) -> float:
        """How long it stays up this time."""
        assert self._mtbf_s is not None
        return float(self._rng.exponential(self._mtbf_s))

    def down_s(self) -> float:
        """How long this repair takes."""
        return float(self._rng.exponential(self._repair_s))
