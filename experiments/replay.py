"""The one loop: a simulator asks, an observer describes, a policy answers, the simulator goes on.

``replay``, ``compare``, training and studies all call :func:`run_policy`. Wall time spent inside the simulator is kept
apart from what observer and policy (guard included) take.
"""

from __future__ import annotations

import resource
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.common import Layout
from ..policies import Feedback, OutcomeSignal
from ..policies.guards.context import read_action
from .domains import domain_of
from .splits import MeasuredWindow

PROGRESS_EVERY = 1024
"""Decisions between two calls of ``on_progress``."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall time of one replay by where it went, in seconds.

    Attributes:
        simulate_s: Inside ``advance()`` and ``apply()``.
        observe_s: Inside the observer.
        decide_s: Inside the policy, guard included.
        shadow_s: Inside the shadow policy, whose answers are only recorded.
    """

    simulate_s: float
    observe_s: float
    decide_s: float
    shadow_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why and where an unguarded policy ended its run: it raised, acted illegally, or took for ever."""

    reason: str
    at_decision: int


@dataclass(frozen=True, slots=True)
class Decisions:
    """One row a decision, in order.

    Attributes:
        now_s: Simulated time of the decision, float64.
        item: Row of the trace that was decided on, int64.
        action: What the policy chose and the simulator applied, int32.
        shadow_action: What the shadow policy would have chosen, int32; None without a shadow.
    """

    now_s: NDArray[np.float64]
    item: NDArray[np.int64]
    action: NDArray[np.int32]
    shadow_action: NDArray[np.int32] | None

    def differing_share(self) -> float | None:
        """Share of decisions in which the shadow would have chosen otherwise; None without a shadow or decisions."""
        if self.shadow_action is None or len(self.action) == 0:
            return None
        return float(np.mean(self.action != self.shadow_action))


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """What one replay gave.

    Attributes:
        results: The simulator's result columns; None if the policy failed.
        decisions: The decision log.
        timing: Where wall time went.
        failure: Set if the policy raised or acted illegally; the run ended there.
    """

    results: Any
    decisions: Decisions
    timing: Timing
    failure: Failure | None = None


@dataclass(slots=True)
class _Log:
    now_s: array[float] = field(default_factory=lambda: array("d"))
    item: array[int] = field(default_factory=lambda: array("q"))
    action: array[int] = field(default_factory=lambda: array("i"))
    shadow_action: array[int] = field(default_factory=lambda: array("i"))

    def columns(self, shadowed: bool) -> Decisions:
        return Decisions(
            np.frombuffer(self.now_s, dtype=np.float64) if self.now_s else np.empty(0),
            np.frombuffer(self.item, dtype=np.int64) if self.item else np.empty(0, np.int64),
            np.frombuffer(self.action, dtype=np.int32) if self.action else np.empty(0, np.int32),
            np.frombuffer(self.shadow_action, dtype=np.int32) if shadowed and self.shadow_action else None,
        )


def run_policy(
    simulator: Any,
    observer: Callable[[Any], NDArray[np.float32]],
    policy: Any,
    judge: Callable[[Any], OutcomeSignal],
    *,
    shadow: Any = None,
    on_progress: Callable[[float], None] | None = None,
) -> ReplayRun:
    """Replay ``simulator`` to its end under ``policy``.

    Args:
        simulator: A fresh simulator (``advance``, ``apply``, ``results``).
        observer: Maps a decision point to an observation, float32 of shape (layout.size,).
        policy: What decides. If it has ``notify`` it hears of outcomes; its ``latency_s`` is read after each decision.
        judge: What ``policy`` hears of an outcome of a decision point.
        shadow: A policy that is asked at each decision and not obeyed.
        on_progress: Called every ``PROGRESS_EVERY`` decisions with the simulated time in seconds.
    """
    log = _Log()
    inside = observing = deciding = shadowing = 0
    failure: Failure | None = None
    state = shadow_state = None
    predict, advance, apply = policy.predict, simulator.advance, simulator.apply
    notify = getattr(policy, "notify", None)
    watch = getattr(policy, "watch", None)
    number = 0

    began = perf_counter_ns()
    point = advance()
    ended = perf_counter_ns()
    inside += ended - began
    while point is not None:
        began = ended
        observation = observer(point)
        ended = perf_counter_ns()
        observing += ended - began
        if watch is not None:
            watch(point)
        try:
            if notify is not None:
                outcomes = tuple([judge(outcome) for outcome in point.outcomes])
                notify(Feedback(point.now_s, number, point.action_mask, outcomes))
            proposal, state = predict(observation, state)
        except (Exception, SystemExit) as error:
            failure = Failure(f"raised {type(error).__name__}: {error}", number)
            break
        began, ended = ended, perf_counter_ns()
        deciding += ended - began
        action, complaint = (proposal, "") if type(proposal) is int else read_action(proposal)
        mask = point.action_mask
        if complaint or not (0 <= action < len(mask) and mask[action]):
            failure = Failure(f"illegal action {proposal!r}" + (f" ({complaint})" if complaint else ""), number)
            break
        latency_s = getattr(policy, "latency_s", 0.0)
        if not 0.0 <= latency_s < inf:
            failure = Failure(f"a decision latency of {latency_s} s", number)
            break
        if shadow is not None:
            began = ended
            shadow_action, shadow_state = shadow.predict(observation, shadow_state)
            log.shadow_action.append(int(shadow_action))
            ended = perf_counter_ns()
            shadowing += ended - began
        log.now_s.append(point.now_s)
        log.item.append(point.item)
        log.action.append(action)
        if on_progress is not None and number % PROGRESS_EVERY == 0:
            on_progress(point.now_s)
        number += 1
        began = perf_counter_ns()
        apply(action, latency_s)
        point = advance()
        ended = perf_counter_ns()
        inside += ended - began
    timing = Timing(inside / 1e9, observing / 1e9, deciding / 1e9, shadowing / 1e9)
    results = simulator.results() if failure is None else None
    return ReplayRun(results, log.columns(shadow is not None), timing, failure)


def peak_rss_mb() -> float:
    """Most memory that this process has held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class UpObserver:
    """An observation of nothing but which actions are legal, for policies with ``needs_observation = False``."""

    def __init__(self, layout: Layout) -> None:
        self._observation = np.zeros(layout.size, dtype=np.float32)
        self._up = layout.replica(self._observation, "up")

    def __call__(self, point: Any) -> NDArray[np.float32]:
        """The observation at ``point``; the same array is written anew each time."""
        self._up[:] = point.action_mask
        return self._observation


def replay(
    system: Any,
    trace: Any,
    policy: str | Callable[[Layout], Any],
    objective: Any,
    *,
    measured: MeasuredWindow | None = None,
    seed: int = 0,
    shadow: Callable[[Layout], Any] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> ReplayRun:
    """Replay a trace on a system under one policy; see :func:`run_policy`.

    Args:
        system: What the trace is replayed on, such as a ``FleetConfig``; it tells the domain.
        trace: The domain's trace.
        policy: What ``--policy`` takes, or a function that builds the policy for the observation's layout.
        objective: What counts as a violation, of the domain's type.
        measured: Which arrivals count in the metrics; all of them by default.
        seed: Seed of the simulator and of a policy given by name.
        shadow: Builds the shadow policy.
        on_progress: Called now and then with the simulated time in seconds.

    Raises:
        HandrailError: The trace, system or policy cannot be used.
    """
    domain = domain_of(system)
    layout = domain.layout(system)
    decider = domain.make_policy(policy, system, seed) if isinstance(policy, str) else policy(layout)
    measured_s = None if measured is None else (measured.start_s, measured.end_s)
    simulator = domain.simulator(system, trace, seed, measured_s)
    blind = shadow is None and not getattr(decider, "needs_observation", True)
    observer = UpObserver(layout) if blind else domain.observer(simulator)
    bind = getattr(decider, "bind", None)
    if bind is not None:  # a guard that plays actions forward needs the two that play them
        bind(simulator, observer)
    other = shadow(layout) if shadow is not None else None
    return run_policy(simulator, observer, decider, domain.judge(objective), shadow=other, on_progress=on_progress)
