"""Where and when a stress acts: the domain, the replayed window, the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...traces.errors import HandrailError


@dataclass(frozen=True, slots=True)
class StressContext:
    """What a stress knows of the replay that it acts on.

    Attributes:
        domain: Name of the domain: ``llm``, ``cluster`` or ``prefetch``.
        start_s: First arrival of the replayed trace, in simulated seconds.
        end_s: Last arrival, in simulated seconds.
        seed: Seed of everything that a stress draws; independent of the simulator's own streams.
    """

    domain: str
    start_s: float
    end_s: float
    seed: int = 0

    @classmethod
    def of(cls, domain: str, trace: Any, seed: int = 0) -> StressContext:
        """The context of a replay of a whole trace.

        Raises:
            HandrailError: The trace is empty.
        """
        if len(trace) == 0:
            raise HandrailError(f"{trace.name}: the trace is empty; there is nothing to put under stress")
        return cls(domain, float(trace.arrival_s[0]), float(trace.arrival_s[-1]), seed)

    @property
    def span_s(self) -> float:
        """Length of the replayed window, in seconds."""
        return self.end_s - self.start_s

    def at_s(self, share: float) -> float:
        """The simulated time, in seconds, at a share of the window; after the last arrival for a share of 1."""
        if share >= 1.0:
            return float(np.nextafter(self.end_s, np.inf))
        return self.start_s + share * self.span_s

    def rng(self, label: str) -> np.random.Generator:
        """A stream of its own for each label."""
        return np.random.default_rng(np.random.SeedSequence((self.seed, *label.encode())))

    def with_seed(self, seed: int) -> StressContext:
        """The same place in time under another seed."""
        return replace(self, seed=seed)
