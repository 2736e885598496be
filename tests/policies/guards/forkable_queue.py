"""A tiny simulator with forks: jobs of hidden size arrive, one of four queues is chosen for each."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from guard_stand import LAYOUT


@dataclass(frozen=True)
class Point:
    """A job waits for a choice."""

    now_s: float
    decision: int
    item: int
    action_mask: np.ndarray
    outcomes: tuple[Any, ...] = ()


class QueueSimulator:
    """First come first served queues; a job costs the time from its arrival to its end, charged as time goes by.

    Sizes are hidden until a job ends; the queues' speeds are known.
    """

    def __init__(self, arrival_s: np.ndarray, size_s: np.ndarray, speeds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)):
        self.arrival_s, self.size_s = arrival_s, size_s
        self.speeds = np.array(speeds)
        self.now_s = 0.0
        self.next = 0
        self.jobs: list[tuple[float, int, int]] = []  # arrival, row, queue
        self.open = False
        self.forks = 0

    @property
    def decisions(self) -> int:
        return self.next

    def fork(self) -> QueueSimulator:
        self.forks += 1
        other = copy.copy(self)
        other.jobs = list(self.jobs)
        return other

    def advance(self) -> Point | None:
        return self.advance_until(float("inf"))

    def advance_until(self, until_s: float) -> Point | None:
        assert not self.open
        if self.next == len(self.arrival_s) or self.arrival_s[self.next] > until_s:
            self.now_s = until_s if until_s < float("inf") else self.now_s
            return None
        self.now_s = float(self.arrival_s[self.next])
        self.open = True
        return self.point()

    def point(self) -> Point:
        return Point(self.now_s, self.next, self.next, np.ones(4, dtype=bool))

    def apply(self, action: int, latency_s: float = 0.0) -> None:
        assert self.open
        self.jobs.append((self.now_s, self.next, int(action)))
        self.next += 1
        self.open = False

    def ends_s(self) -> list[float]:
        free_s = np.zeros(4)
        ends = []
        for arrival_s, row, queue in self.jobs:
            free_s[queue] = max(free_s[queue], arrival_s) + self.size_s[row] / self.speeds[queue]
            ends.append(float(free_s[queue]))
        return ends

    def charged_s(self) -> float:
        ends = self.ends_s()
        return float(sum(min(end, self.now_s) - job[0] for end, job in zip(ends, self.jobs, strict=True)))

    def hidden_model(self) -> HiddenQueue:
        return HiddenQueue(self)


class HiddenQueue:
    """Redraws all sizes that are not known by the ends of jobs, and all arrivals to come."""

    def __init__(self, simulator: QueueSimulator) -> None:
        self._simulator = simulator
        self._arrivals: list[float] = []

    def note(self, point: Point) -> None:
        self._arrivals.append(point.now_s)

    def redraw(self, fork: QueueSimulator, rng: np.random.Generator, latency_factor: float = 1.0) -> None:
        ends = fork.ends_s()
        known = [job[1] for job, end in zip(fork.jobs, ends, strict=True) if end <= fork.now_s]
        past = fork.size_s[known] if known else np.array([1.0])
        sizes = rng.choice(past, size=len(fork.size_s))
        sizes[known] = fork.size_s[known]
        gaps = np.diff(self._arrivals) if len(self._arrivals) > 1 else np.array([1.0])
        later = fork.arrival_s[fork.next] + np.cumsum(
            rng.choice(gaps, size=max(len(fork.arrival_s) - fork.next - 1, 0))
        )
        fork.arrival_s = np.concatenate((fork.arrival_s[: fork.next + 1], later))
        fork.size_s = sizes
        fork.speeds = fork.speeds / latency_factor


class QueueObserver:
    """Jobs in each queue as ``inflight``."""

    layout = LAYOUT

    def __init__(self, simulator: QueueSimulator) -> None:
        self._simulator = simulator

    def fork(self, simulator: QueueSimulator) -> QueueObserver:
        return QueueObserver(simulator)

    def __call__(self, point: Point) -> np.ndarray:
        out = np.zeros(LAYOUT.size, dtype=np.float32)
        simulator = self._simulator
        for job, end in zip(simulator.jobs, simulator.ends_s(), strict=True):
            if end > simulator.now_s:
                LAYOUT.replica(out, "inflight")[job[2]] += 1
        LAYOUT.replica(out, "up")[:] = 1
        return out


class Shortest:
    """The queue with the fewest jobs."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(LAYOUT.replica(observation, "inflight").argmin()), state


def queue(seed: int = 0, jobs: int = 60, speeds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> QueueSimulator:
    gaps, sizes = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    return QueueSimulator(np.cumsum(gaps.exponential(0.4, jobs)), sizes.exponential(1.0, jobs), speeds)
