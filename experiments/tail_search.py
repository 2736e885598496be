"""The score that a policy is trained and selected on: its tails over the fallback's, by replay.

For one window of traffic and each latency that the domain names (TTFT and E2E of requests), ``d`` is the mean over
``TAIL_QUANTILES`` of log(policy's quantile / fallback's quantile): three neighbouring quantiles wobble less from one
replay to the next than p99 alone. A window's score is the mean of the ``d`` plus ``LOSS_WEIGHT`` times the sum of those
above 0, so that one tail is not bought with another. The score of a policy is the mean over windows: 0 is the fallback,
-0.05 tails about 5 % shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.common import Layout
from ..policies.guards import GuardConfig, GuardedPolicy, build_guard
from ..policies.learning.cem import Candidate
from ..policies.learning.features import ScorerSearch
from ..policies.network import Mlp, ReplicaScorer, scorer_shapes, unflatten
from ..traces.errors import HandrailError
from .domains import domain_of
from .replay import ReplayRun, replay
from .scenario import Prepared
from .splits import MeasuredWindow, cut_split, measured_window

TAIL_QUANTILES = (0.98, 0.99, 0.995)
LOSS_WEIGHT = 2.0

LOST_LOG_RATIO = 5.0
"""Log ratio of a tail that the policy lost and the fallback did not (and the reverse, negative)."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A guard, fresh for every replay, and the heuristic that it falls back on."""

    guard: GuardConfig
    fallback: str

    def around(self, policy: Any, system: Any, seed: int) -> GuardedPolicy:
        """``policy`` behind the guard, for one replay on ``system``."""
        domain = domain_of(system)
        layout = domain.layout(system)
        fallback, last_rung = domain.make_heuristic(self.fallback, system, seed), domain.make_last_rung(system)
        return GuardedPolicy(policy, fallback, build_guard(self.guard, layout), layout, last_rung)


@dataclass(frozen=True, slots=True)
class TrafficWindow:
    """One stretch of traffic with the fallback's tails on it.

    Attributes:
        system: What the trace is replayed on.
        trace: What arrives.
        measured: Which arrivals are measured.
        objective: For policies that hear of outcomes.
        seed: Seed of the simulator.
        fallback_tails: The fallback's ``TAIL_QUANTILES``, as ``Domain.tails`` gives them.
        behind: What stands between a network and the system; None where it decides alone.
    """

    system: Any
    trace: Any
    measured: MeasuredWindow
    objective: Any
    seed: int
    fallback_tails: NDArray[np.float64]
    behind: Behind | None = None

    def behind_guard(self, guard: GuardConfig | None, fallback: str) -> TrafficWindow:
        """The same stretch with networks behind a guard; itself without one."""
        return self if guard is None else replace(self, behind=Behind(guard, fallback))


def window_score(ours: NDArray[np.float64], fallback: NDArray[np.float64]) -> float:
    """Score of one window from two arrays of tails; lower is better, 0 if they are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ours) - np.log(fallback)
    logs = np.nan_to_num(logs, nan=0.0, posinf=LOST_LOG_RATIO, neginf=-LOST_LOG_RATIO)
    each = logs.mean(axis=1)
    return float(each.mean() + LOSS_WEIGHT * np.maximum(each, 0.0).sum())


def window_of(prepared: Prepared, fallback: str) -> TrafficWindow:
    """A prepared scenario as one stretch of traffic, with the fallback replayed on it."""
    scenario = prepared.scenario
    run = replay(
        prepared.system, prepared.trace, fallback, scenario.objective, measured=prepared.measured, seed=scenario.seed
    )
    tails = prepared.domain.tails(run.results, TAIL_QUANTILES)
    return TrafficWindow(prepared.system, prepared.trace, prepared.measured, scenario.objective, scenario.seed, tails)


def traffic_windows(
    window: Any, prepared: Prepared, fallback: str, *, n: int, seed: int, max_items: int | None = None
) -> list[TrafficWindow]:
    """Stretches of one split at one load, each with its own random shifts, and the fallback replayed on each.

    Args:
        window: The part of the trace that is split, as recorded.
        prepared: A scenario of that split, prepared: system, factor on the rate and how it is reached.
        fallback: The heuristic that scores are relative to.
        n: Stretches wanted; fewer where the load is not raised by random shifts and the split is not cut.
        seed: Seed of shifts and cuts.
        max_items: Longest stretch; the cut is at a random place.

    Raises:
        HandrailError: ``n`` or ``max_items`` is not positive.
    """
    if n < 1 or (max_items is not None and max_items < 1):
        raise HandrailError(f"--windows and --window-requests must be at least 1, got {n} and {max_items}")
    scenario, change, domain = prepared.scenario, prepared.change, prepared.domain
    part = cut_split(window, scenario.split or "all", domain.margins)
    made: dict[str, TrafficWindow] = {}
    for stream in np.random.SeedSequence(seed).spawn(n):
        rng = np.random.default_rng(stream)
        draw_seed = int(rng.integers(2**31))
        method = None if change.method == "as-is" else change.method
        trace = domain.change_rate(part, prepared.system, change.factor, method, draw_seed)
        if max_items is not None and len(trace) > max_items:
            first = int(rng.integers(len(trace) - max_items + 1))
            arrival_s = trace.arrival_s[first : first + max_items]
            trace = trace.take(np.arange(first, first + max_items), arrival_s - arrival_s[0])
        if trace.content_hash in made:
            continue
        drawn = replace(prepared, trace=trace, measured=measured_window(trace, domain.margins))
        made[trace.content_hash] = window_of(drawn, fallback)
    return list(made.values())


def score_on(window: TrafficWindow, network: ReplicaScorer | Mlp) -> float:
    """The network's score on one window."""
    run = replay_network(window, network)
    if run.results is None:
        return math.inf
    return window_score(domain_of(window.system).tails(run.results, TAIL_QUANTILES), window.fallback_tails)


def replay_network(window: TrafficWindow, network: ReplicaScorer | Mlp, fallback: str | None = None) -> ReplayRun:
    """Replay a network, behind the window's guard if it has one.

    With ``fallback``, record what that heuristic would have chosen at each decision.
    """

    def acting(_: Layout) -> Any:
        alone = _Acting(network)
        return alone if window.behind is None else window.behind.around(alone, window.system, window.seed)

    def shadow(_: Layout) -> Any:
        assert fallback is not None
        return domain_of(window.system).make_heuristic(fallback, window.system, window.seed)

    return replay(
        window.system,
        window.trace,
        acting,
        window.objective,
        measured=window.measured,
        seed=window.seed,
        shadow=shadow if fallback is not None else None,
    )


@dataclass(frozen=True, slots=True)
class ScorerScore:
    """Scores parameter vectors of a replica scorer; what ``cem_search`` calls, picklable.

    Attributes:
        search: Features and normalisation of the scorer.
        layout: Layout of the observations.
        windows: Traffic to score on.
        per_iteration: How many of the windows an iteration uses, taken in turn; all candidates of an iteration see the
            same ones. 0 uses all of them always.
    """

    search: ScorerSearch
    layout: Layout
    windows: tuple[TrafficWindow, ...]
    per_iteration: int = 0

    def network(self, vector: NDArray[np.float64]) -> ReplicaScorer:
        """The scorer with these parameters."""
        search = self.search
        tensors = unflatten(vector, scorer_shapes(len(search.features), search.hidden))
        return ReplicaScorer(self.layout, search.features, search.mean, search.std, tensors)

    def __call__(self, candidate: Candidate) -> float:
        """Mean score over the iteration's windows."""
        vector, iteration = candidate
        network = self.network(vector)
        used = self.per_iteration or len(self.windows)
        chosen = [self.windows[(iteration * used + k) % len(self.windows)] for k in range(min(used, len(self.windows)))]
        return float(np.mean([score_on(window, network) for window in chosen]))


@dataclass(frozen=True, slots=True)
class NetworkScore:
    """Scores whole networks on all windows; picklable."""

    windows: tuple[TrafficWindow, ...]

    def __call__(self, network: ReplicaScorer | Mlp) -> float:
        """Mean score over the windows."""
        return float(np.mean([score_on(window, network) for window in self.windows]))


@dataclass(frozen=True, slots=True)
class _Acting:
    """A network as a policy."""

    network: ReplicaScorer | Mlp

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[int, Any]:
        return self.network.act(observation), state
