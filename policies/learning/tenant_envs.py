"""Tenants of cache simulators as the environments of one Stable-Baselines3 ``VecEnv``: one network decides for all.

Imported by ``prefetch_ppo`` alone, and only when a training starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from ...envs.common import EpisodeWindows, Layout
from ...envs.prefetch import CacheConfig, DecisionPoint
from ...envs.prefetch.observer import PrefetchObserver
from ...traces import AccessTrace
from ...traces.errors import HandrailError
from ..guards.guarded_session import GuardedSession
from ..interface import OutcomeSignal
from .access_costs import OFF_ARM, CostMeter, CostWeights, cost_curve, tenants_asked, window_simulator
from .arm_rows import ArmRows
from .features import ScorerSearch
from .job_rows import LARGEST

Floats = NDArray[np.float64]


class _Episodes:
    """Episodes of one simulator after another; a slot for every tenant, or one for all.

    A step is one decision moment. Where the queue of the backing tier is past ``calm`` nothing is prefetched, whatever
    is chosen: what a poor policy has piled up drains before it drowns what later choices earn. A slot whose tenant has
    no accesses in the window sees zeros and earns nothing.
    """

    def __init__(
        self,
        trace: AccessTrace,
        config: CacheConfig,
        windows: EpisodeWindows,
        weights: CostWeights,
        calm: float,
        rows: ArmRows,
        judge: Callable[[Any], OutcomeSignal] | None,
        session: Callable[[], GuardedSession] | None,
    ) -> None:
        self._trace = trace
        self._config = config
        self._windows = windows
        self._weights = weights
        self._calm_s = calm * config.unloaded_miss_s
        self._off = config.arms.index(OFF_ARM)
        self._rows = rows
        self._judge = judge
        self._make_session = session
        self.slots = trace.n_tenants if config.per_tenant else 1
        self._at_s = 0.0

    def reset(self) -> NDArray[np.float32]:
        """Begin the next window; vectors of all slots."""
        window = self._windows.next()
        reference = window_simulator(self._trace, self._config, window)
        self._reference = cost_curve(reference, self._weights, lambda point: reference.standing_arm(point.tenant))
        self._simulator = window_simulator(self._trace, self._config, window)
        self._observer = PrefetchObserver(self._simulator)
        self._meter = CostMeter(self._simulator, self._weights)
        self._asked = tenants_asked(self._trace, self._config, window)
        self._session = None if self._make_session is None else self._make_session()
        if self._session is not None:
            self._session.policy.bind(self._simulator, self._observer)
        self._signals: list[OutcomeSignal] = []
        point = self._point = self._simulator.advance()
        assert point is not None
        self._at_s = self._simulator.now_s
        self._ahead = self._gain()
        return self._see(point)

    def step(self, arms: NDArray[np.int64]) -> tuple[NDArray[np.float32] | None, Floats, list[dict[str, Any]]]:
        """Vectors of all slots, None at the end of the episode, rewards, and what is told of each slot's decision."""
        simulator = self._simulator
        point: DecisionPoint | None = None
        crowded = simulator.tier.backlog_s(simulator.now_s) > self._calm_s
        told: list[dict[str, Any]] = [{"absent": True, "executed": int(arm)} for arm in arms]
        for tenant in self._asked:
            slot = max(tenant, 0)
            proposed = int(arms[slot])
            arm, told[slot] = self._chosen(slot, proposed, self._off if crowded else proposed)
            simulator.apply(arm)
            point = self._point = simulator.advance()
            if self._judge is not None:
                self._signals = [self._judge(outcome) for outcome in (() if point is None else point.outcomes)]
                told[slot]["judged"] = len(self._signals)
                told[slot]["cost"] = float(sum(signal.violated for signal in self._signals))
        before, self._ahead = self._ahead, self._gain()
        rewards = self._ahead - before
        present = np.zeros(self.slots)
        present[[max(tenant, 0) for tenant in self._asked]] = 1.0
        return None if point is None else self._see(point), rewards * present, told

    def _chosen(self, slot: int, proposed: int, calmed: int) -> tuple[int, dict[str, Any]]:
        """What is executed of a slot's choice, and what is told of that."""
        if self._session is None:
            return calmed, {}
        seen, now_s = self._seen[slot], self._simulator.now_s
        decided = self._session.decide(calmed, seen, now_s, None, self._signals, self._point)
        # That the agent holds still while the queue is long is its own rule: the guard has not intervened there.
        executed = decided.executed
        credited = proposed if executed == calmed else executed
        return executed, {"executed": credited, "asked": decided.asked, "intervened": executed != calmed}

    def _gain(self) -> Floats:
        """How much less the accesses so far have cost than under the standing scheme, by slot."""
        meter = self._meter
        return self._weights.shared(self._reference.at(meter.positions()) - meter.costs())

    def _see(self, point: DecisionPoint) -> NDArray[np.float32]:
        dt_s = self._simulator.now_s - self._at_s
        self._at_s = self._simulator.now_s
        seen = np.zeros((self.slots, self._rows.shapes.size), dtype=np.float32)
        self._seen: dict[int, NDArray[np.float32]] = {}
        for tenant in self._asked:
            observation = self._observer(point._replace(tenant=tenant))
            if self._session is not None:
                self._seen[max(tenant, 0)] = observation.copy()
            seen[max(tenant, 0)] = self._rows(observation, dt_s)
        return seen


class TenantEnvs(VecEnv):
    """The tenants of several simulators side by side, each an environment with a decision of its own at every moment.

    The reward of a tenant's step is what its accesses, and in part the others', cost less than the very same accesses
    cost under the standing scheme. That credit depends on arrivals alone, not on what is chosen, so it changes no
    optimum, but takes out most of the noise that arrivals bring (Mao et al., "Variance Reduction for Reinforcement
    Learning in Input-Driven Environments", ICLR 2019).

    An episode is a window of the trace and ends for all tenants of a simulator at once.

    Args:
        trace: What is replayed.
        config: The cache, whose menu the arms are.
        layout: Layout of the observations.
        search: Features and normalisation.
        weights: What counts as cost.
        calm: Queueing delay, in unloaded misses, above which nothing is prefetched.
        simulators: How many simulators there are.
        episode_accesses: Accesses of an episode.
        seed: Seed of the windows.
        judge: What an outcome says of the objective; each decision's ``info`` then has ``cost`` and ``judged``.
        session: Makes the guard of one episode; ``info`` then has ``executed``, ``asked`` and ``intervened``. One guard
            judges the decisions of all tenants in turn, upon what each saw when the moment began.
    """

    def __init__(
        self,
        trace: AccessTrace,
        config: CacheConfig,
        *,
        layout: Layout,
        search: ScorerSearch,
        weights: CostWeights,
        calm: float,
        simulators: int,
        episode_accesses: int,
        seed: int,
        judge: Callable[[Any], OutcomeSignal] | None = None,
        session: Callable[[], GuardedSession] | None = None,
    ) -> None:
        if session is not None and judge is None:
            raise HandrailError("a guard needs to hear of outcomes: give judge beside session")
        rows = ArmRows(layout, search)
        seeds = np.random.SeedSequence(seed).generate_state(simulators).tolist()
        self._simulators = [
            _Episodes(
                trace,
                config,
                EpisodeWindows(trace.arrival_s, split="all", items=episode_accesses, seed=own),
                weights,
                calm,
                rows,
                judge,
                session,
            )
            for own in seeds
        ]
        self._slots = self._simulators[0].slots
        self._actions = np.zeros(simulators * self._slots, dtype=np.int64)
        self.render_mode = None
        space = spaces.Box(-LARGEST, LARGEST, (rows.shapes.size,), dtype=np.float32)
        super().__init__(simulators * self._slots, space, spaces.Discrete(layout.n_replicas))

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode everywhere."""
        return np.concatenate([each.reset() for each in self._simulators])

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Take the arms of all environments."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Run every simulator to its next decision moment; where an episode ended, the next one has begun."""
        seen: list[NDArray[np.float32]] = []
        rewards: list[Floats] = []
        dones: list[bool] = []
        infos: list[dict[str, Any]] = []
        for each, arms in zip(self._simulators, self._actions.reshape(-1, self._slots), strict=True):
            vectors, gained, told = each.step(arms)
            done = vectors is None
            dones += [done] * self._slots
            last = np.zeros(self.observation_space.shape or (), dtype=np.float32)
            ended = {"terminal_observation": last, "TimeLimit.truncated": False} if done else {}
            infos += [{**info, **ended} for info in told]
            seen.append(each.reset() if vectors is None else vectors)
            rewards.append(gained)
        return np.concatenate(seen), np.concatenate(rewards).astype(np.float32), np.array(dones), infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this object, once for each environment that is asked."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused.

        Raises:
            TypeError: Always: tenants of one simulator have no attributes of their own.
        """
        raise TypeError(f"tenants of one simulator have no attributes of their own; {attr_name!r} cannot be set")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refused.

        Raises:
            TypeError: Always: tenants of one simulator have no methods of their own.
        """
        raise TypeError(f"tenants of one simulator have no methods of their own; {method_name!r} cannot be called")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """None is wrapped."""
        return [False for _ in self._get_indices(indices)]
