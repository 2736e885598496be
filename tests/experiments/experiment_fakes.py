"""A simulator of a few lines that asks for one decision a request, and traces to replay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from handrail.traces import RequestTrace


class Outcome(NamedTuple):
    """What the fake tells of an ended request."""

    request: int
    decision: int
    ttft_s: float
    tpot_s: float


class FakeSimulator:
    """Asks once a second; request i ends before decision i + 1 with a TTFT of 2 s on replica 1 and 0.5 s elsewhere."""

    def __init__(self, n_requests: int, n_replicas: int = 3, down: tuple[int, ...] = ()) -> None:
        self.n_requests = n_requests
        self.mask = np.array([replica not in down for replica in range(n_replicas)])
        self.applied: list[tuple[int, float]] = []

    def advance(self):
        i = len(self.applied)
        if i == self.n_requests:
            return None
        outcomes = []
        if i:
            outcomes.append(Outcome(i - 1, i - 1, 2.0 if self.applied[-1][0] == 1 else 0.5, 0.01))
        return SimpleNamespace(item=i, now_s=float(i), action_mask=self.mask, outcomes=outcomes)

    def apply(self, action: int, latency_s: float = 0.0) -> None:
        assert isinstance(action, int)
        assert self.mask[action]
        self.applied.append((action, latency_s))

    def results(self):
        return SimpleNamespace(applied=self.applied)


def observe(point):
    """The request's number as observation."""
    return np.array([point.item], dtype=np.float32)


def small_trace(n: int = 600, rate_rps: float = 20.0, seed: int = 5) -> RequestTrace:
    """Poisson arrivals of short prompts and responses."""
    rng = np.random.default_rng(seed)
    return RequestTrace(
        arrival_s=np.cumsum(rng.exponential(1 / rate_rps, n)),
        prompt_tokens=rng.integers(50, 2000, n),
        output_tokens=rng.integers(1, 120, n),
        name="small",
    )
