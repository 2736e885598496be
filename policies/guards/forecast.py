"""What would come of an action: played forward in forks of the live simulator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from ..interface import Feedback, OutcomeSignal, Policy
from .following import Following


class Forecast(Protocol):
    """Says what actions would cost from the present decision on."""

    def costs(self, actions: Sequence[int], horizon_s: float, futures: int) -> NDArray[np.float64]:
        """Cost charged over ``horizon_s`` seconds, shape (len(actions), futures); a column is one future."""
        ...

    def costs_of_following(self, action: int, horizon_s: float, futures: int, follow_s: float) -> NDArray[np.float64]:
        """The same of an action after which the policy goes on deciding for ``follow_s`` seconds, shape (futures,)."""
        ...


class HiddenModel(Protocol):
    """Draws what a decision maker cannot know, from what it has seen."""

    def note(self, point: Any) -> None:
        """Learn from what a decision point reveals; called at every decision."""
        ...

    def redraw(self, fork: Any, rng: np.random.Generator, latency_factor: float = 1.0) -> None:
        """Draw everything hidden in ``fork`` anew, and scale its latency model."""
        ...


class Forkable(Protocol):
    """What a forecast needs of a simulator."""

    @property
    def now_s(self) -> float: ...

    @property
    def decisions(self) -> int:
        """Decisions that were answered."""
        ...

    def fork(self) -> Self: ...

    def apply(self, action: int, latency_s: float = 0.0) -> None: ...

    def advance_until(self, until_s: float) -> Any: ...

    def charged_s(self) -> float: ...

    def hidden_model(self) -> HiddenModel: ...


class ForkableObserver(Protocol):
    """What a forecast needs of an observer."""

    def __call__(self, point: Any) -> NDArray[np.float32]: ...

    def fork(self, simulator: Any) -> Callable[[Any], NDArray[np.float32]]: ...


def play(
    simulator: Forkable,
    observer: Callable[[Any], NDArray[np.float32]],
    policy: Policy,
    action: int,
    until_s: float,
    latency_s: float = 0.0,
    state: Any = None,
    judge: Callable[[Any], OutcomeSignal] | None = None,
) -> float:
    """Apply ``action`` at the open decision, let ``policy`` decide from then on; the cost charged until ``until_s``.

    Args:
        simulator: A fork with a decision open; it is used up.
        observer: The fork's own observer, which has seen the open decision.
        policy: Who decides after the action; a copy, since it may keep state. Its ``latency_s`` counts. If it has
            ``notify`` it is told of every decision after the open one, which it has seen.
        action: What is done at the open decision.
        until_s: How far is played, in simulated seconds.
        latency_s: Decision latency of that action, in simulated seconds.
        state: The policy's state after the open decision.
        judge: What the policy hears of an outcome of a decision point; without it of none.

    Returns:
        ``charged_s()`` at the end less that at the open decision. Where a fork's items end before ``until_s``, the cost
        of all of them: two actions in forks of one future are charged for the same items.
    """
    before = simulator.charged_s()
    notify = getattr(policy, "notify", None)
    simulator.apply(action, latency_s)
    point = simulator.advance_until(until_s)
    while point is not None:
        if notify is not None:
            outcomes = () if judge is None else tuple(judge(outcome) for outcome in point.outcomes)
            notify(Feedback(point.now_s, simulator.decisions, point.action_mask, outcomes))
        choice, state = policy.predict(observer(point), state)
        simulator.apply(int(choice), float(getattr(policy, "latency_s", 0.0)))
        point = simulator.advance_until(until_s)
    return simulator.charged_s() - before


class Forecaster:
    """Forecasts by the digital twin: the live simulator forked, with everything hidden drawn anew from the past.

    A future is drawn once a decision and used for every action that is asked about: the columns are paired. The stream
    of random numbers of a future depends on seed, decision and future alone, so a forecast does not depend on what was
    forecast before. After the action the fallback decides, or the policy does for a while. Memory: one redrawn fork a
    future, for one decision.

    Attributes:
        fallback_state: State of the fallback after its last ``predict``, for one that keeps any.
        policy_state: The same of the policy.
    """

    def __init__(
        self,
        simulator: Forkable,
        observer: ForkableObserver,
        fallback: Policy,
        seed: int = 0,
        latency_factor: float = 1.0,
        policy: Policy | None = None,
        n_actions: int = 0,
    ) -> None:
        """Bind to a run, before its first decision.

        Args:
            simulator: The simulator of the run; it is forked, never moved.
            observer: Its observer.
            fallback: Who decides after the action.
            seed: Seed of the futures.
            latency_factor: Factor on the twin's latency model.
            policy: Whose rule can be played; None where only single actions are.
            n_actions: Number of actions.

        Raises:
            HandrailError: The policy cannot be copied.
        """
        if policy is not None:
            try:
                copy.deepcopy(policy)
            except Exception as error:
                name = getattr(policy, "name", type(policy).__name__)
                raise HandrailError(
                    f"a twin with follow_s plays copies of the policy, and {name} cannot be copied "
                    f"({type(error).__name__}: {error}); set follow_s to 0, or run it without isolation"
                ) from None
        self.fallback_state: Any = None
        self.policy_state: Any = None
        self._policy = policy
        self._n_actions = n_actions
        self._simulator = simulator
        self._observer = observer
        self._fallback = fallback
        self._seed = seed
        self._latency_factor = latency_factor
        self._hidden = simulator.hidden_model()
        self._decision = -1
        self._futures: list[Forkable] = []
        self._known: dict[tuple[int, float, int], float] = {}

    def note(self, point: Any) -> None:
        """Take in a decision point, before it is decided; to be called at every decision from the first."""
        self._hidden.note(point)
        self._decision += 1
        self._futures.clear()
        self._known.clear()

    def costs(self, actions: Sequence[int], horizon_s: float, futures: int) -> NDArray[np.float64]:
        """Cost charged over ``horizon_s`` seconds after each action, shape (len(actions), futures)."""
        out = np.empty((len(actions), futures))
        for future in range(futures):
            for i, action in enumerate(actions):
                key = (action, horizon_s, future)
                if key not in self._known:
                    self._known[key] = self._play(action, horizon_s, future)
                out[i, future] = self._known[key]
        return out

    def costs_of_following(self, action: int, horizon_s: float, futures: int, follow_s: float) -> NDArray[np.float64]:
        """Cost over ``horizon_s`` seconds after an action, the policy deciding for ``follow_s`` of them, per future."""
        return np.array([self._play_following(action, horizon_s, future, follow_s) for future in range(futures)])

    def _play_following(self, action: int, horizon_s: float, future: int, follow_s: float) -> float:
        assert self._policy is not None
        fork = self._future(future).fork()
        policy, fallback = copy.deepcopy(self._policy), copy.deepcopy(self._fallback)
        latency_s = float(getattr(fallback, "latency_s", 0.0))
        states = copy.deepcopy(self.policy_state), copy.deepcopy(self.fallback_state)
        until_s = fork.now_s + follow_s
        both = Following(policy, states[0], fallback, states[1], until_s, self._n_actions)
        return play(fork, self._observer.fork(fork), both, action, fork.now_s + horizon_s, latency_s)

    def _play(self, action: int, horizon_s: float, future: int) -> float:
        fork = self._future(future).fork()
        policy = copy.deepcopy(self._fallback)
        latency_s = float(getattr(policy, "latency_s", 0.0))
        until_s = fork.now_s + horizon_s
        return play(
            fork, self._observer.fork(fork), policy, action, until_s, latency_s, copy.deepcopy(self.fallback_state)
        )

    def _future(self, future: int) -> Forkable:
        while len(self._futures) <= future:
            stream = np.random.SeedSequence((self._seed, self._decision, len(self._futures)))
            fork = self._simulator.fork()
            self._hidden.redraw(fork, np.random.default_rng(stream), self._latency_factor)
            self._futures.append(fork)
        return self._futures[future]
