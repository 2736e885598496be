"""What the two environments of this domain share: windows of a trace as episodes, and rewards from a cost meter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...traces import HandrailError, JobTrace, load_job_trace
from ..common import EpisodeWindows, Layout
from .carried_over import LEAD_S, completed_before, episode_trace
from .config import ClusterConfig
from .cost import COSTS, CostMeter
from .demand import MILLI
from .simulator import ClusterSimulator, Decide, DecisionPoint

Observation = NDArray[np.float32]


class ClusterEpisodes(gym.Env[Observation, np.int64]):
    """Replays windows of a job trace; a subclass says what is decided and what is seen of it.

    Attributes:
        trace: All jobs.
        cluster: The cluster and its standing scheduler.
        windows: The schedule of the episodes.
        layout: Layout of the observation.
        simulator: The one that runs; None before the first `reset`.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (Gymnasium reads a plain dict)
    decide: ClassVar[Decide]

    def __init__(
        self,
        trace: JobTrace | str | Path = "bundled-cluster",
        cluster: ClusterConfig | None = None,
        *,
        split: str = "train",
        episode_jobs: int = 2048,
        evaluate: bool = False,
        reward: str = "bounded_slowdown",
        illegal_penalty: float = 1.0,
        carry_over: bool = True,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise HandrailError(f"render_mode must be None or 'ansi', not {render_mode!r}")
        if reward not in COSTS:
            raise HandrailError(f"reward {reward!r} is none of {', '.join(COSTS)}")
        if not 0.0 <= illegal_penalty < float("inf"):
            raise HandrailError(f"illegal_penalty must be a number of at least 0, not {illegal_penalty}")
        self.trace = trace if isinstance(trace, JobTrace) else load_job_trace(trace)
        self.windows = EpisodeWindows(
            self.trace.arrival_s, split=split, items=None if evaluate else episode_jobs, seed=seed
        )
        if cluster is None:
            cluster = self._default_cluster(self.trace.take(np.arange(self.windows.start, self.windows.stop)))
        self.cluster = cluster
        self.reward = reward
        self.illegal_penalty = illegal_penalty
        self.render_mode = render_mode
        self._carries = carry_over and cluster.protocol == "standard"
        self._ends_s = self.trace.arrival_s + self.trace.run_s
        self._luck = np.random.default_rng(np.random.SeedSequence(seed))
        self._observer = self._observer_of(ClusterSimulator(cluster, self.trace.head(1), decide=self.decide))
        self.layout: Layout = self._observer.layout  # type: ignore[attr-defined]
        self._actions = self.layout.n_replicas
        self.action_space = spaces.Discrete(self._actions)
        self.observation_space = spaces.Box(self.layout.low, self.layout.high, dtype=np.float32)
        self.simulator: ClusterSimulator | None = None
        self._meter: CostMeter | None = None
        self._point: DecisionPoint | None = None
        self._observation = self.layout.low.copy()
        self._cost = 0.0
        self._at_s = 0.0
        self._jobs = 1

    @abstractmethod
    def _default_cluster(self, part: JobTrace) -> ClusterConfig:
        """The cluster for a split of the trace where none is given."""

    @abstractmethod
    def _observer_of(self, simulator: ClusterSimulator) -> Callable[[DecisionPoint], Observation]:
        """An observer, with a ``layout``, of a simulator that has not advanced yet."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next window of the schedule; a seed starts the schedule anew.

        ``options={"window": (start, stop)}`` replays these jobs of the trace instead.

        Raises:
            HandrailError: The options name something else or a window outside of the trace, or nothing of the window
                fits the cluster.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.windows.restart(seed)
            self._luck = np.random.default_rng(np.random.SeedSequence(seed))
        options = dict(options or {})
        window = options.pop("window", None)
        if options:
            raise HandrailError(f"reset() option {next(iter(options))!r} is not known; there is 'window'")
        start, stop = self.windows.next() if window is None else self.windows.check(window)
        if self._carries:
            part, carried = episode_trace(self.trace, start, stop, self._ends_s)
        else:
            part, carried = self.trace.rows(start, stop - start), 0
        simulator = ClusterSimulator(
            self.cluster,
            part,
            int(self._luck.integers(2**31)),
            decide=self.decide,
            decide_from_s=LEAD_S if carried else 0.0,
        )
        self._recall(simulator, start)
        self.simulator = simulator
        self._meter = simulator.state.cost = COSTS[self.reward](part, carried)
        self._observer = self._observer_of(simulator)
        self._jobs = stop - start
        self._cost = 0.0
        self._at_s = 0.0
        point = simulator.advance()
        if point is None:
            raise HandrailError(f"{self.trace.name}: no job of the window ({start}, {stop}) fits the cluster")
        self._point = point
        self._observation = self._observer(point)
        return self._observation, {"window": (start, stop), "carried_over": carried, "dt_s": 0.0}

    def _recall(self, simulator: ClusterSimulator, start: int) -> None:
        """Let predictions of run times start out from what ended before the window."""
        predictor = simulator.state.jobs.predictor
        if predictor is None or not self._carries:
            return
        trace = self.trace
        rows = completed_before(trace, start, self._ends_s)
        size = (
            trace.tasks[rows] * trace.gpu_milli[rows] / MILLI if self.cluster.size_unit == "gpus" else trace.size[rows]
        )
        tenant = np.zeros(len(rows), dtype=np.int64) if trace.tenant is None else trace.tenant[rows]
        for values in zip(tenant.tolist(), size.tolist(), trace.run_s[rows].tolist(), strict=True):
            predictor.recall(*values)

    def step(self, action: SupportsInt | NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one decision and run on to the next, or to the episode's end."""
        simulator, point, meter = self.simulator, self._point, self._meter
        if simulator is None or point is None or meter is None:
            raise HandrailError("step() needs reset() first: no episode is running")
        chosen = int(action)  # type: ignore[arg-type]
        info: dict[str, Any] = {}
        penalty = 0.0
        if not 0 <= chosen < self._actions or not point.action_mask[chosen]:
            info["illegal"] = True
            penalty = self.illegal_penalty
            chosen = int(np.argmax(point.action_mask))
        simulator.apply(chosen)
        point = self._point = simulator.advance()
        now_s = simulator.now_s
        cost = meter.total(now_s)
        reward = (self._cost - cost) / self._jobs - penalty
        self._cost = cost
        info["dt_s"] = now_s - self._at_s
        self._at_s = now_s
        if point is None:
            return self._observation, reward, True, False, info
        self._observation = self._observer(point)
        info["outcomes"] = point.outcomes
        return self._observation, reward, False, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal, shape (n,)."""
        if self._point is None:
            return np.ones(self._actions, dtype=bool)
        return self._point.action_mask.copy()

    def render(self) -> str | None:  # type: ignore[override]
        """A few lines on the state, with ``render_mode="ansi"``."""
        if self.render_mode != "ansi":
            return None
        if self.simulator is None or self._point is None:
            return "no episode is running"
        state = self.simulator.state
        pool = self.simulator.pool
        head = (
            f"t = {self._point.now_s:,.1f} s   {len(state.waiting)} jobs wait, {len(state.running)} run   "
            f"free {pool.free_size:g} of {pool.size:g}"
        )
        return "\n".join([head, *self._choices()])

    @abstractmethod
    def _choices(self) -> list[str]:
        """A line for each legal choice."""
