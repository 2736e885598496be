"""A contextual bandit of prefetchers: what an arm costs, learned from decisions drawn by lots, by ridge regression.

A replay under the policy so far is repeated with lots in it: from time to time one tenant is given a random arm for a
while. What the next accesses then cost more than the very same accesses cost without lots is regressed on how the
random arm's features differ from those of the arm that the policy would have taken. Everything else is the same in both
replays, so hardly any noise is left, which common lots of all tenants would make in plenty: they share one tier. The
fitted scorer, taken greedily, is the policy of the next round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...envs.common import EpisodeWindows, Layout
from ...envs.prefetch import CacheConfig
from ...envs.prefetch.observer import PrefetchObserver
from ...traces import AccessTrace
from ...traces.errors import HandrailError
from ..card import FeatureCard, ScorerArchitecture
from ..network import FeatureMap, ReplicaScorer
from ..parallel import ordered_map
from .access_costs import OFF_ARM, CostCurve, CostMeter, CostWeights, tenants_asked, window_simulator
from .features import ScorerSearch
from .maskable_ppo import TrainedScorer
from .regression import Samples, best_ridge, fit

Floats = NDArray[np.float64]

CONTEXT_SCALE = 4.0
"""Global fields enter the regression as ``log1p`` over this."""

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridges among which cross-validation chooses."""

REPEATS = 4
"""Replays with lots for each one without."""

BATCH = 2
"""Windows that are begun together."""


@dataclass(frozen=True, slots=True)
class BanditSettings:
    """How decisions are logged and fitted.

    Attributes:
        weights: What counts as cost.
        rounds: Times that decisions are logged and the scorer is fitted anew, to all that was drawn so far.
        episode_accesses: Accesses of a replay.
        hold: Intervals for which an arm that was drawn by lots is kept.
        horizon: Intervals whose cost is put down to it; the next one is drawn after them.
        calm: Queueing delay, in unloaded misses, above which nothing is prefetched while decisions are logged: a poor
            policy must not drown what single arms cost. Nothing is drawn there either.
        limit: Costs of so many unloaded misses an access of the horizon are not told apart from larger ones: that an
            arm is bad is enough to know.

    Raises:
        HandrailError: A value is out of its range.
    """

    weights: CostWeights = field(default_factory=CostWeights)
    rounds: int = 5
    episode_accesses: int = 16_384
    hold: int = 1
    horizon: int = 8
    calm: float = 4.0
    limit: float = 0.25

    def __post_init__(self) -> None:
        for name in ("rounds", "episode_accesses", "hold", "horizon"):
            if getattr(self, name) < 1:
                raise HandrailError(f"the bandit's {name} must be at least 1, not {getattr(self, name)}")
        if self.hold > self.horizon:
            raise HandrailError(f"the bandit's hold must be at most its horizon, not {self.hold} of {self.horizon}")
        for name in ("calm", "limit"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise HandrailError(f"the bandit's {name} must be a number above 0, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class LogTask:
    """One window, replayed once without lots and then with those of each seed, under the policy so far."""

    window: tuple[int, int]
    linear: tuple[float, ...]
    seeds: tuple[np.random.SeedSequence, ...]


@dataclass(frozen=True, slots=True)
class Logged:
    """What a task gives: what was drawn by lots and what it cost, and the decisions made."""

    samples: Samples
    decisions: int


@dataclass(frozen=True, slots=True)
class DecisionLogger:
    """Replays a window with lots and without; picklable.

    Inputs of the regression are how far the drawn arm's features are from the usual arm's, then a constant and the
    global fields, for what earlier lots have left behind; all are multiplied by the accesses that the cost is that of.
    """

    trace: AccessTrace
    config: CacheConfig
    layout: Layout
    search: ScorerSearch
    settings: BanditSettings

    def __call__(self, task: LogTask) -> Logged:
        plain = _Replay(self, task)
        plain.run(None)
        usual, decisions = CostCurve(plain.positions, plain.costs), plain.decisions
        drawn: list[Samples] = []
        for seed in task.seeds:
            replay = _Replay(self, task)
            replay.run(np.random.default_rng(seed))
            drawn.append(replay.samples(usual))
            decisions += replay.decisions
        return Logged(Samples.joined(drawn), decisions)


class _Replay:
    """One replay of a window under the policy so far, with its marks, one a decision moment, and what was drawn."""

    def __init__(self, logger: DecisionLogger, task: LogTask) -> None:
        search, layout = logger.search, logger.layout
        tensors = {"linear": np.array(task.linear)}
        self._settings = logger.settings
        self._layout = layout
        self._scorer = ReplicaScorer(layout, search.features, search.mean, search.std, tensors)
        self._features = FeatureMap(layout, search.features)
        self._scale = 1.0 / search.std
        self._simulator = window_simulator(logger.trace, logger.config, task.window)
        self._askers = tenants_asked(logger.trace, logger.config, task.window)
        self._calm_s = logger.settings.calm * logger.config.unloaded_miss_s
        self._off = self._simulator.arms.index(OFF_ARM)
        self._drawn: list[tuple[int, int, Floats]] = []  # mark, account, inputs
        self.decisions = 0
        self.positions: list[NDArray[np.int64]] = []
        self.costs: list[Floats] = []

    def run(self, lots: np.random.Generator | None) -> None:
        """Run to the end; without ``lots`` nothing is drawn."""
        simulator, settings, askers = self._simulator, self._settings, self._askers
        meter = CostMeter(simulator, settings.weights)
        observer = PrefetchObserver(simulator)
        drawn_at, tenant, arm = -settings.horizon, -1, -1
        crowded = False
        mark = -1
        point = simulator.advance()
        while point is not None:
            if point.tenant == askers[0]:
                mark += 1
                self.positions.append(meter.positions())
                self.costs.append(meter.costs())
                crowded = simulator.tier.backlog_s(simulator.now_s) > self._calm_s
                if lots is not None and not crowded and mark >= drawn_at + settings.horizon:
                    drawn_at = mark
                    tenant, arm = askers[lots.integers(len(askers))], int(lots.integers(len(simulator.arms)))
            observation = observer(point)
            choice = self._off if crowded else self._scorer.act(observation)
            if point.tenant == tenant and mark < drawn_at + settings.hold:
                if mark == drawn_at:
                    self._drawn.append((mark, max(tenant, 0), self._inputs(observation, arm, choice)))
                choice = arm
            self.decisions += 1
            simulator.apply(choice)
            point = simulator.advance()
        self.positions.append(meter.positions())
        self.costs.append(meter.costs())

    def _inputs(self, observation: NDArray[np.float32], arm: int, usual: int) -> Floats:
        rows = self._features(observation)
        context = np.log1p(self._layout.globals(observation)) / CONTEXT_SCALE
        return np.concatenate(((rows[arm] - rows[usual]) * self._scale, (1.0,), context))

    def samples(self, usual: CostCurve) -> Samples:
        """What was drawn, and what it cost more than ``usual``."""
        passed = np.array(self.positions)
        extra = self._settings.weights.shared(np.array(self.costs) - usual.at(passed))
        whole = [each for each in self._drawn if each[0] + self._settings.horizon < len(passed)]
        width = len(self._scale) + 1 + len(self._layout.global_fields)
        inputs, costs, most = np.zeros((len(whole), width)), np.zeros(len(whole)), np.zeros(len(whole))
        for i, (mark, account, own) in enumerate(whole):
            end = mark + self._settings.horizon
            accesses = float(passed[end, account] - passed[mark, account])
            inputs[i] = own * accesses
            costs[i] = extra[end, account] - extra[mark, account]
            most[i] = self._settings.limit * accesses
        return Samples(inputs, np.maximum(costs, -most), most)


def train_bandit(
    trace: AccessTrace,
    config: CacheConfig,
    *,
    layout: Layout,
    search: ScorerSearch,
    steps: int,
    seed: int = 0,
    settings: BanditSettings | None = None,
    workers: int = 1,
    on_step: Callable[[int], None] | None = None,
) -> list[TrainedScorer]:
    """Log decisions on windows of a trace and fit linear scorers to them; return the start and each round's scorer.

    The fit is drawn towards the start, as strongly as cross-validation over replays finds best.

    Args:
        trace: What is replayed.
        config: The cache, whose menu the arms are.
        layout: Layout of the observations.
        search: Features, normalisation and start, as ``arm_search`` gives them.
        steps: Decisions to make in all, rounded up to whole replays, which may be enough for several rounds at once.
        seed: Of windows and lots.
        settings: How to log and fit.
        workers: Processes that replay; they change no result.
        on_step: Told the decisions made so far.

    Raises:
        HandrailError: ``steps`` is below 1, the search has hidden layers, or no replay is long enough for a horizon.
    """
    settings = settings or BanditSettings()
    if steps < 1:
        raise HandrailError(f"--steps must be at least 1, got {steps}")
    if search.hidden:
        raise HandrailError("the bandit fits a linear scorer; leave out --hidden, or choose ppo or cem")
    n = len(search.features)
    architecture = ScorerArchitecture(features=tuple(map(FeatureCard.of, search.features)))
    trained = partial(TrainedScorer, architecture=architecture, mean=search.mean, std=search.std)
    scorers = [trained(0, tensors={"linear": search.start})]
    prior = np.concatenate((-search.start, np.zeros(1 + len(layout.global_fields))))
    window_seed, lots = np.random.SeedSequence(seed).spawn(2)
    windows = EpisodeWindows(
        trace.arrival_s, split="all", items=settings.episode_accesses, seed=int(window_seed.generate_state(1)[0])
    )
    parts: list[Samples] = []
    decisions = 0
    with ordered_map(DecisionLogger(trace, config, layout, search, settings), workers) as log:
        for number in range(1, settings.rounds + 1):
            linear = tuple(scorers[-1].tensors["linear"].tolist())
            wanted = -(-steps * number // settings.rounds)
            if decisions >= wanted:
                continue  # the whole replays of the round before were long enough for this one
            while decisions < wanted:
                # So many at a time whatever the number of workers, which must change nothing.
                tasks = [LogTask(windows.next(), linear, tuple(lots.spawn(REPEATS))) for _ in range(BATCH)]
                for found in log(tasks):
                    parts.append(found.samples)
                    decisions += found.decisions
                    if on_step is not None:
                        on_step(decisions)
            if not any(len(part) for part in parts):
                raise HandrailError(
                    f"{trace.name}: no replay has {settings.horizon} intervals after a decision; use a longer trace"
                )
            costs = fit(Samples.joined(parts), best_ridge(parts, RIDGES, prior), prior)
            scorers.append(trained(decisions, tensors={"linear": -costs[:n]}))
    return scorers
