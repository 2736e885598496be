"""An environment that says, at every step, which service-level objectives were seen to be missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from ..envs.cluster.environment import ClusterSchedulingEnv
from ..envs.llm_serving.environment import LLMRoutingEnv
from ..envs.prefetch.environment import CachePrefetchEnv
from ..policies import OutcomeSignal
from ..traces.errors import HandrailError
from .domains import domain_of

Observation = NDArray[np.float32]


def system_of(env: gym.Env[Any, Any]) -> Any:
    """What the environment's simulator is built from beside the trace.

    Raises:
        HandrailError: It is no environment with one decision a step.
    """
    inner = env.unwrapped
    if isinstance(inner, LLMRoutingEnv):
        return inner.fleet
    if isinstance(inner, ClusterSchedulingEnv):
        return inner.cluster
    if isinstance(inner, CachePrefetchEnv):
        if inner.cache.per_tenant:
            raise HandrailError(
                "CachePrefetchEnv with per_tenant=True takes several decisions a step, and a guard judges one by one; "
                "make it with per_tenant=False, or train with `handrail train --domain prefetch --algo ppo --guarded`"
            )
        return inner.cache
    raise HandrailError(
        f"{type(inner).__name__} cannot be guarded; it must be LLMRoutingEnv, ClusterSchedulingEnv or CachePrefetchEnv"
    )


class JudgedEnv(gym.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """Adds to ``info`` of each step what its outcomes say of the service-level objective.

    | ``info`` | |
    |---|---|
    | ``cost`` | objectives missed among the outcomes that this step revealed, as a float |
    | ``judged`` | outcomes that it revealed: ended requests, ended jobs, intervals between prefetch decisions |

    An outcome is revealed when its item has ended, so the cost of a decision comes some steps after it. The last step
    of an episode also has what only the episode's end reveals. Observations and rewards are left as they are.

    Args:
        env: ``LLMRoutingEnv``, ``ClusterSchedulingEnv`` or ``CachePrefetchEnv`` (one arm for all tenants), which may be
            wrapped in what changes no action.
        objective: What counts as missed: the domain's objective or its fields by name; by default the domain's own.

    Raises:
        HandrailError: The environment is another one, or the objective is none of its domain.
    """

    def __init__(self, env: gym.Env[Any, Any], objective: Any = None) -> None:
        self._system = system_of(env)
        self._domain = domain_of(self._system)
        self.objective = _objective(self._domain.scenario_type(), objective)
        RecordConstructorArgs.__init__(self, objective=self.objective.model_dump(mode="json"))
        gym.Wrapper.__init__(self, env)
        self._signals: list[OutcomeSignal] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode."""
        self._signals = []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        outcomes: Sequence[Any] = info.get("outcomes", ())
        if terminated:
            # No decision follows that could report them: what ended since the last one still stands in the simulator.
            outcomes = self.env.unwrapped.simulator.unread_outcomes  # type: ignore[attr-defined]
        judge = self._domain.judge(self.objective)
        self._signals = [judge(outcome) for outcome in outcomes]
        info["cost"] = float(sum(signal.violated for signal in self._signals))
        info["judged"] = len(self._signals)
        return observation, float(reward), terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal, shape (n_actions,)."""
        return self.env.unwrapped.action_masks()  # type: ignore[attr-defined]


def _objective(scenario: Any, given: Any) -> Any:
    default = scenario.objective
    if given is None:
        return default
    if isinstance(given, type(default)):
        return given
    if not isinstance(given, Mapping):
        raise HandrailError(f"objective must be an Objective of the domain {scenario.domain} or its fields by name")
    try:
        return type(default)(**given)
    except ValueError as error:
        raise HandrailError(f"objective: {error.errors()[0]['msg']}; it has {default}") from None  # type: ignore[attr-defined]
