"""The reward that MaskablePPO learns from: what a window of jobs costs, against what it costs under the fallback."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ...envs.cluster.config import ClusterConfig
from ...envs.cluster.simulator import SHORT_JOB_S, ClusterSimulator

SMALL_SLOWDOWN = 0.3
"""Mean slowdown by waiting that is added to the fallback's, lest quiet windows weigh more than busy ones."""

SMALL_WAIT_S = 1800.0
"""Root mean square wait that is added to the fallback's, for the same end."""


class WaitCosts:
    """Slowdown by waiting and squared waits of a window's jobs by any time, each as a share of a reference.

    Args:
        arrival_s: Arrivals, shape (n,).
        run_s: Run times, shape (n,).
        tail_weight: Weight of the squared waits against the slowdowns.
    """

    def __init__(self, arrival_s: NDArray[np.float64], run_s: NDArray[np.float64], tail_weight: float) -> None:
        self._arrival_s = arrival_s
        self._per_s = 1.0 / np.maximum(run_s, SHORT_JOB_S)
        self._tail_weight = tail_weight
        self._slowdown_unit = 1.0
        self._tail_unit = 1.0
        self._counts = np.ones(len(arrival_s), dtype=bool)

    def relate_to(self, start_s: NDArray[np.float64]) -> None:
        """Take for reference what the window costs in all if jobs start at ``start_s``."""
        # Jobs that the cluster turns away never start, whoever schedules: they cost nothing.
        self._counts = np.isfinite(start_s)
        wait_s = np.where(self._counts, start_s - self._arrival_s, 0.0)
        n = len(wait_s)
        self._slowdown_unit = float(wait_s @ self._per_s) + SMALL_SLOWDOWN * n
        self._tail_unit = float(wait_s @ wait_s) + SMALL_WAIT_S**2 * n

    def by(self, now_s: float, start_s: NDArray[np.float64]) -> float:
        """The cost by ``now_s`` of jobs that start at ``start_s``, nan where they have not, shape (n,)."""
        wait_s = np.where(self._counts, np.maximum(np.fmin(start_s, now_s) - self._arrival_s, 0.0), 0.0)
        slowdown = float(wait_s @ self._per_s) / self._slowdown_unit
        return slowdown + self._tail_weight * float(wait_s @ wait_s) / self._tail_unit


class AgainstFallback(gym.Wrapper[NDArray[np.float32], Any, NDArray[np.float32], Any]):
    """Rewards of a ``ClusterSchedulingEnv`` as differences from the fallback on the same window.

    Over an episode they sum to ``1 - slowdown / fallback's + tail_weight * (1 - squared waits / fallback's)``, the
    slowdown being the sum over jobs of wait / max(run, 10 s); in quiet windows a little less (``SMALL_SLOWDOWN``,
    ``SMALL_WAIT_S``). Each step is charged what it cost, and credited with what the fallback's own schedule costs in
    the same stretch of time. That credit depends on arrivals alone, not on the policy, so it changes no optimum, but
    takes out most of the noise that arrivals bring (Mao et al., "Variance Reduction for Reinforcement Learning in
    Input-Driven Environments", ICLR 2019). Being relative, busy windows do not drown the others: single windows differ
    by a thousand times in slowdown.

    Waits count until a job's first start; jobs carried over into the window cost nothing.

    Args:
        env: The environment, not wrapped in anything that changes its simulator.
        fallback: Cluster and standing scheduler whose schedule is the reference.
        tail_weight: Weight of squared waits against slowdowns. With 0 the policy learns to starve wide jobs, which few
            windows are long enough to punish.
    """

    def __init__(self, env: gym.Env[Any, Any], fallback: ClusterConfig, tail_weight: float) -> None:
        super().__init__(env)
        self._fallback = fallback
        self._tail_weight = tail_weight

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode: the fallback replays its window first."""
        observation, info = self.env.reset(seed=seed, options=options)
        simulator = self._simulator = self.env.unwrapped.simulator  # type: ignore[attr-defined]
        trace, first = simulator.trace, int(info.get("carried_over", 0))
        reference = ClusterSimulator(self._fallback, trace)
        reference.advance()
        self._first = first
        self._reference_s = reference.results().start_s[first:]
        self._costs = WaitCosts(trace.arrival_s[first:], trace.run_s[first:], self._tail_weight)
        self._costs.relate_to(self._reference_s)
        self._ahead = self._gain()
        return observation, info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One decision."""
        observation, _, terminated, truncated, info = self.env.step(action)
        before, self._ahead = self._ahead, self._gain()
        return observation, self._ahead - before, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal choices."""
        return self.env.unwrapped.action_masks()  # type: ignore[attr-defined]

    def _gain(self) -> float:
        """How much less the policy has cost so far than the fallback."""
        simulator = self._simulator
        now_s = simulator.now_s if simulator.arrivals_left or len(simulator.state.waiting) else np.inf
        start_s = np.array(simulator.state.start_s)[self._first :]
        return self._costs.by(now_s, self._reference_s) - self._costs.by(now_s, start_s)
