"""Which arm has paid most of late: a discounted upper confidence bound over the menu.

Gerogiannis and Torrellas, "Micro-Armed Bandit: Lightweight & Reusable Reinforcement Learning for Microarchitecture
Decision-Making", MICRO'23 (its DUCB); the discounted bound is by Garivier and Moulines, ALT'11.
"""

from __future__ import annotations

import math

from ..arms import Arm
from ..config import BanditConfig
from .base import Controller, IntervalStats


class BanditController(Controller):
    """Takes each arm once, in their order, then the one with the highest reward plus confidence bound.

    With n_i the discounted number of intervals that arm i was in force (all are multiplied by ``gamma`` before the one
    that was chosen gets 1 more) and n their sum, the arm with the largest r_i + c sqrt(ln n / n_i) is taken, the first
    of equals; r_i moves by (reward - r_i) / n_i. The reward of an interval is minus its mean access latency over an
    unloaded miss. An interval without accesses says nothing, and the arm stays.
    """

    name = "bandit"

    def __init__(self, ladder: tuple[Arm, ...], config: BanditConfig) -> None:
        super().__init__(ladder)
        self._config = config
        self._counts = [0.0] * len(ladder)
        self._rewards = [0.0] * len(ladder)
        self._tried = 0
        self._place = 0

    def choose(self, seen: IntervalStats | None) -> int:
        if seen is None or seen.accesses == 0:
            return self._place
        self._credit(-seen.latency_sum_s / (seen.accesses * seen.miss_s))
        if self._tried < len(self.ladder):
            self._place = self._tried
        else:
            bounds = self._bounds()
            self._place = bounds.index(max(bounds))
        return self._place

    def _credit(self, reward: float) -> None:
        place = self._place
        self._counts = [count * self._config.gamma for count in self._counts]
        self._counts[place] += 1.0
        self._rewards[place] += (reward - self._rewards[place]) / self._counts[place]
        self._tried = max(self._tried, place + 1)

    def _bounds(self) -> list[float]:
        weight = self._config.exploration
        if weight == 0.0:
            return list(self._rewards)
        log_total = math.log(sum(self._counts))  # the sum is at least 1: the last credit alone gives 1
        return [
            reward + weight * math.sqrt(log_total / count) if count > 0.0 else math.inf
            for reward, count in zip(self._rewards, self._counts, strict=True)
        ]
