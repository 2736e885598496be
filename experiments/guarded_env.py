"""An environment behind a guard: an agent may try what it likes, and what is executed is the guard's choice."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from ..policies.guards import GuardConfig, build_guard
from ..policies.guards.context import read_action
from ..policies.guards.guarded_session import GuardedSession
from ..traces.errors import HandrailError
from .domains import domain_of
from .judged_env import JudgedEnv, Observation, system_of


class GuardedEnv(JudgedEnv):
    """Hands each action to a guard as a proposal, and executes what the guard makes of it.

    | ``info`` | |
    |---|---|
    | ``proposed`` | the agent's action, -1 where it is none |
    | ``executed`` | what the environment was given: the action, or the fallback's |
    | ``intervened`` | whether the two differ |
    | ``asked`` | whether the guard weighed the action at all; it does not while the fallback rules |
    | ``cost``, ``judged`` | objectives missed, and outcomes, that this step revealed; see :class:`JudgedEnv` |

    The reward is that of what was executed. Every episode has a fresh guard, a fresh fallback and a fresh last rung
    (the domain's policy without telemetry). The guard sees the environment's own observations, simulated times, action
    masks and ``info["outcomes"]``, and is the same :class:`~handrail.policies.guards.GuardedPolicy` that a replay has:
    the same actions give the same decision log. Time stands still while it decides: decision latency is not put into
    simulated time.

    The environment can be made again from its ``spec``: the guard is kept there as JSON and the fallback by name.

    Args:
        env: As :class:`JudgedEnv` takes it.
        fallback: A heuristic of the domain by name; by default the domain's own.
        guard: A ``GuardConfig`` or its JSON; by default the domain's, without a calibrated breaker.
        objective: What counts as missed; see :class:`JudgedEnv`.
        seed: Seed of the fallback.

    Attributes:
        session: The guard of the present episode, or of the last one where it has ended; ``session.policy`` has its
            decision log and its supervisor. ``None`` before the first ``reset``.

    Raises:
        HandrailError: The environment cannot be guarded, there is no such heuristic, or the guard is not understood or
            does not fit the observations.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        fallback: str | None = None,
        guard: GuardConfig | str | None = None,
        *,
        objective: Any = None,
        seed: int = 0,
    ) -> None:
        system = system_of(env)
        domain = domain_of(system)
        if isinstance(guard, str):
            guard = GuardConfig.from_json(guard)
        elif guard is None:
            guard = domain.default_guard(system)
        elif not isinstance(guard, GuardConfig):
            raise HandrailError(f"guard must be a GuardConfig or its JSON, not {type(guard).__name__}")
        self.guard = domain.fit_guard(guard, system)
        self.fallback = domain.scenario_type().fallback if fallback is None else fallback
        self._seed = seed
        if objective is not None and not isinstance(objective, dict):
            objective = objective.model_dump(mode="json")
        RecordConstructorArgs.__init__(
            self, fallback=self.fallback, guard=self.guard.to_json(), objective=objective, seed=seed
        )
        super().__init__(env, objective)
        self.session: GuardedSession | None = None
        self._new_session()  # a heuristic or a guard that does not fit is refused now, not at the first reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, with a fresh guard and a fresh fallback."""
        observation, info = super().reset(seed=seed, options=options)
        self.session = self._new_session()
        inner: Any = self.env.unwrapped
        self.session.policy.bind(inner.simulator, inner._observer)  # for checks that play actions forward
        self._observation = observation
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision: the guard's choice, given the agent's.

        Raises:
            HandrailError: No episode is running.
        """
        if self.session is None:
            raise HandrailError("step() needs reset() first: no episode is running")
        inner: Any = self.env.unwrapped
        now_s, point = inner.simulator.now_s, inner._point
        decided = self.session.decide(action, self._observation, now_s, self.action_masks(), self._signals, point)
        observation, reward, terminated, truncated, info = super().step(decided.executed)
        self._observation = observation
        info["proposed"] = read_action(action)[0]
        info["executed"] = decided.executed
        info["intervened"] = info["proposed"] != decided.executed
        info["asked"] = decided.asked
        return observation, reward, terminated, truncated, info

    def _new_session(self) -> GuardedSession:
        layout = self.env.unwrapped.layout  # type: ignore[attr-defined]
        fallback = self._domain.make_heuristic(self.fallback, self._system, self._seed)
        last_rung = self._domain.make_last_rung(self._system)
        return GuardedSession(fallback, build_guard(self.guard, layout), layout, last_rung)
