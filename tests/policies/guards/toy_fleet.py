"""A small closed-form fleet to try guards on: first come first served queues, two of them at half the speed.

A job of size ``s`` on a replica of speed ``v`` takes ``s / v`` seconds; its wait is what is left of the work before it.
The observation has the exact wait as ``ttft_s`` and the exact sojourn time as ``drain_s``.
"""

from __future__ import annotations

import heapq

import numpy as np
from guard_stand import LAYOUT

from handrail.policies.interface import Feedback, OutcomeSignal

SPEEDS = np.array([2.0, 2.0, 1.0, 1.0])
SLO_S = 1.0
RATE_AT = LAYOUT.names().index("rate_60s")


class Fleet:
    """Arrivals and sizes of one run; ``load`` is the share of the fleet's capacity that is offered."""

    def __init__(self, seed: int, load: float) -> None:
        arrivals, sizes = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
        self.mean_size_s = 0.1
        self.rate = load * SPEEDS.sum() / self.mean_size_s
        self._arrivals, self._sizes = arrivals, sizes

    def jobs(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Arrival times and sizes, in seconds, shape (count,) each."""
        gaps = self._arrivals.exponential(1.0 / self.rate, count)
        return np.cumsum(gaps), self._sizes.exponential(self.mean_size_s, count)


class ShortestDrain:
    """The fallback: the smallest sojourn time."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(LAYOUT.replica(observation, "drain_s").argmin()), None


class LongestDrain:
    """Sabotage: the largest sojourn time."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(LAYOUT.replica(observation, "drain_s").argmax()), None


class RandomReplica:
    """Sabotage: any replica."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(self._rng.integers(4)), None


class NearlyShortest:
    """An honest policy with a mind of its own: the smallest wait plus a tenth less of the service time."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        wait = LAYOUT.replica(observation, "ttft_s")
        return int((0.1 * wait + 0.9 * LAYOUT.replica(observation, "drain_s")).argmin()), None


def run(fleet: Fleet, policy, count: int) -> np.ndarray:
    """Sojourn times of ``count`` jobs under a policy, in seconds, shape (count,)."""
    arrival_s, size_s = fleet.jobs(count)
    free_at_s = np.zeros(4)
    sojourn_s = np.empty(count)
    ends: list[tuple[float, int]] = []
    seen = np.zeros(LAYOUT.size, dtype=np.float32)
    LAYOUT.replica(seen, "decode_step_s")[:] = 0.01
    notify = getattr(policy, "notify", None)
    state = None
    for i in range(count):
        outcomes = []
        while ends and ends[0][0] <= arrival_s[i]:
            _, job = heapq.heappop(ends)
            outcomes.append(OutcomeSignal(job, bool(sojourn_s[job] > SLO_S), float(sojourn_s[job])))
        wait_s = np.maximum(free_at_s - arrival_s[i], 0.0)
        LAYOUT.replica(seen, "ttft_s")[:] = wait_s
        LAYOUT.replica(seen, "drain_s")[:] = wait_s + size_s[i] / SPEEDS
        seen[RATE_AT] = fleet.rate
        if notify is not None:
            notify(Feedback(float(arrival_s[i]), i, None, tuple(outcomes)))
        action, state = policy.predict(seen, state)
        sojourn_s[i] = wait_s[action] + size_s[i] / SPEEDS[action]
        free_at_s[action] = arrival_s[i] + sojourn_s[i]
        heapq.heappush(ends, (float(free_at_s[action]), i))
    return sojourn_s
