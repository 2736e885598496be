"""Policies that see and hear through distorted sensors, and the one party in such a run that does not."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...policies import Feedback
from .sensors import Distortion, heard, observed


class Undeceived:
    """A fallback whose sensors reach it without the distortions that only policy and checks suffer.

    :class:`Deceived` lends it what was there before the narrower distortions; it uses that in place of the very object
    that it is handed. Handed anything else (in a forecast, by an observer of its own), it uses what it is handed.
    """

    def __init__(self, fallback: Any) -> None:
        self._fallback = fallback
        self._given: Any = None
        self._true: Any = None
        self._given_feedback: Any = None
        self._true_feedback: Any = None
        self.name = getattr(fallback, "name", type(fallback).__name__)
        self.needs_observation = getattr(fallback, "needs_observation", True)

    @property
    def latency_s(self) -> float:
        """The fallback's decision latency, in simulated seconds."""
        return getattr(self._fallback, "latency_s", 0.0)

    def lend(self, given: Any, true: Any) -> None:
        """When handed the observation ``given``, use ``true``."""
        self._given, self._true = given, true

    def lend_feedback(self, given: Feedback, true: Feedback) -> None:
        """When handed the feedback ``given``, use ``true``."""
        self._given_feedback, self._true_feedback = given, true

    def notify(self, feedback: Feedback) -> None:
        """Pass on what was there before the distortions."""
        notify = getattr(self._fallback, "notify", None)
        if notify is not None:
            notify(self._true_feedback if feedback is self._given_feedback else feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """What the fallback decides by true sensors."""
        seen = self._true if observation is self._given else observation
        return self._fallback.predict(seen, state, episode_start, deterministic)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A fork, for a forecast: nothing is lent to it until somebody does."""
        return Undeceived(copy.deepcopy(self._fallback, memo))


class Deceived:
    """A policy behind distorted sensors. Needs ``notify`` before each ``predict``, as the loop does it.

    Args:
        policy: What sees and hears through them: a learned policy, a fallback, or a whole guarded policy.
        wide: Distortions that all inside suffer.
        narrow: Distortions after these, which ``spared`` does not suffer.
        spared: The fallback inside ``policy``, if it is spared the narrow ones.
    """

    def __init__(
        self,
        policy: Any,
        wide: tuple[Distortion, ...],
        narrow: tuple[Distortion, ...] = (),
        spared: Undeceived | None = None,
    ) -> None:
        self.policy = policy
        self.name = getattr(policy, "name", type(policy).__name__)
        self._wide = wide
        self._narrow = narrow
        self._spared = spared
        self._notify = getattr(policy, "notify", None)
        self._now_s = 0.0

    @property
    def latency_s(self) -> float:
        """The policy's decision latency, in simulated seconds."""
        return getattr(self.policy, "latency_s", 0.0)

    @property
    def votes(self) -> Any:
        """The members' proposals of an ensemble; None for other policies."""
        return getattr(self.policy, "votes", None)

    @property
    def values(self) -> Any:
        """The value estimates of a policy's heads; None for other policies."""
        return getattr(self.policy, "values", None)

    @property
    def policy_hash(self) -> str:
        """The policy's identity; empty where it has none."""
        return getattr(self.policy, "policy_hash", "")

    @property
    def watch(self) -> Any:
        """What the loop calls with every decision point, for a guard that forecasts; None where nobody asks."""
        return getattr(self.policy, "watch", None)

    def bind(self, simulator: Any, observer: Any) -> None:
        """Pass on what a guard's forecasts need: the fallback's view in them is distorted as here."""
        bind = getattr(self.policy, "bind", None)
        if bind is not None:
            bind(simulator, DeceivedObserver(observer, self._wide) if self._wide else observer)

    def notify(self, feedback: Feedback) -> None:
        """Take the time, and pass the feedback on as it is reported."""
        self._now_s = feedback.now_s
        wide = heard(self._wide, feedback)
        narrow = heard(self._narrow, wide)
        if self._spared is not None:
            self._spared.lend_feedback(narrow, wide)
        if self._notify is not None:
            self._notify(narrow)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """What the policy decides by what is reported."""
        wide = observed(self._wide, observation, self._now_s)
        narrow = observed(self._narrow, wide, self._now_s)
        if self._spared is not None:
            self._spared.lend(narrow, wide)
        return self.policy.predict(narrow, state, episode_start, deterministic)


class DeceivedObserver:
    """An observer whose observations are distorted; forks with all that the distortions remember."""

    def __init__(self, observer: Any, chain: tuple[Distortion, ...]) -> None:
        self._observer = observer
        self._chain = chain
        self.layout = observer.layout

    def __call__(self, point: Any) -> NDArray[np.float32]:
        """The observation at ``point`` as it is reported."""
        return observed(self._chain, self._observer(point), point.now_s)

    def fork(self, simulator: Any) -> DeceivedObserver:
        """The observer of a forked simulator."""
        return DeceivedObserver(self._observer.fork(simulator), copy.deepcopy(self._chain))
