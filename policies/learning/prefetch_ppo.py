"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) of a prefetch scorer that all tenants share."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...envs.common import Layout
from ...envs.prefetch import CacheConfig
from ...traces import AccessTrace
from ...traces.errors import HandrailError
from ..card import FeatureCard, ScorerArchitecture
from ..guards.guarded_session import GuardedSession
from ..interface import OutcomeSignal
from .access_costs import CostWeights
from .executed_actions import LearnFrom
from .features import ScorerSearch
from .job_rows import RowShapes
from .maskable_ppo import TrainedScorer
from .sb3 import learn, normalised, on_one_thread, training_packages
from .tally import TrainingTally

Judge = Callable[[Any], OutcomeSignal]
"""What turns a simulator's outcome into what a guard hears of it."""

SETTINGS: dict[str, Any] = {
    "n_steps": 128,
    "batch_size": 512,
    "n_epochs": 5,
    "gamma": 0.8,
    "gae_lambda": 0.9,
    "ent_coef": 0.01,
    "learning_rate": 1e-2,
    "clip_range": 0.2,
    "target_kl": 0.02,
    "temperature": 0.3,
    "critic": 64,
}
"""Settings, for tens of thousands to some hundreds of thousands of decisions.

What an arm costs shows within a few intervals, hence the low ``gamma``. ``temperature`` is that of the start's scores:
the lower, the closer the sampled policy keeps to the start. The learning rate falls to 0 in a straight line; it is in
units of the search's first deviations over the temperature (see ``job_scorer``). ``critic`` is the size of the critic's
layers.
"""


@dataclass(frozen=True, slots=True)
class PrefetchEpisodes:
    """What PPO learns from.

    Attributes:
        weights: What counts as cost.
        calm: Queueing delay, in unloaded misses, above which nothing is prefetched while PPO learns: what a poor policy
            has piled up drains before it drowns what later choices earn.
        simulators: How many run side by side; each has all tenants.
        episode_accesses: Accesses of an episode.

    Raises:
        HandrailError: A number is out of its range.
    """

    weights: CostWeights = field(default_factory=CostWeights)
    calm: float = 4.0
    simulators: int = 4
    episode_accesses: int = 8192

    def __post_init__(self) -> None:
        for name in ("simulators", "episode_accesses"):
            if getattr(self, name) < 1:
                raise HandrailError(f"the episodes' {name} must be at least 1, not {getattr(self, name)}")
        if not 0.0 < self.calm < math.inf:
            raise HandrailError(f"the episodes' calm must be a number above 0, not {self.calm}")


def train_prefetch_ppo(
    trace: AccessTrace,
    config: CacheConfig,
    *,
    layout: Layout,
    search: ScorerSearch,
    steps: int,
    seed: int = 0,
    episodes: PrefetchEpisodes | None = None,
    log_dir: Path | None = None,
    snapshots: int = 5,
    settings: dict[str, Any] | None = None,
    on_step: Callable[[int], None] | None = None,
    judge: Judge | None = None,
    session: Callable[[], GuardedSession] | None = None,
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
) -> list[TrainedScorer]:
    """Train on windows of a trace; return snapshots, the last one at the end.

    Training starts at ``search.start``; rewards are divided by the deviation of their returns. One thread, one seed:
    the same scorers.

    Args:
        trace: What is replayed.
        config: The cache, whose menu the arms are.
        layout: Layout of the observations.
        search: Features, normalisation and start, as ``arm_search`` gives them.
        steps: Decisions in all, of all tenants and simulators, rounded up to whole rollouts.
        seed: Of network, sampling and windows.
        episodes: Rewards and windows.
        log_dir: Where TensorBoard events go.
        snapshots: How many scorers to keep at most for validation to choose from.
        settings: Changes to ``SETTINGS``; what is not named there goes to ``PPO``.
        on_step: Told the decisions made so far.
        judge: What an outcome of a simulator says of the objective; without it nothing is judged. Picks no action.
        session: Makes the guard of one episode of one simulator; it needs ``judge``. Without it there is none.
        tally: Counts what is told of every decision.
        learn_from: Behind a guard, whether the agent's own choice or what was executed in its place is learned from.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or ``steps`` is below 1.
    """
    sb3, _ = training_packages()
    scorer = importlib.import_module(f"{__package__}.arm_scorer")
    tenants = importlib.import_module(f"{__package__}.tenant_envs")
    episodes = episodes or PrefetchEpisodes()
    chosen = {**SETTINGS, **(settings or {})}
    networks = {
        "shapes": RowShapes(layout, search),
        "search": search,
        "temperature": chosen.pop("temperature"),
        "critic": chosen.pop("critic"),
    }
    rate = float(chosen.pop("learning_rate"))
    architecture = ScorerArchitecture(features=tuple(map(FeatureCard.of, search.features)), hidden=search.hidden)
    envs = tenants.TenantEnvs(
        trace,
        config,
        layout=layout,
        search=search,
        weights=episodes.weights,
        calm=episodes.calm,
        simulators=episodes.simulators,
        episode_accesses=episodes.episode_accesses,
        seed=seed,
        judge=judge,
        session=session,
    )
    with on_one_thread(normalised(envs, chosen["gamma"], norm_obs=False)) as shown:
        model = sb3.PPO(
            scorer.ArmScorerPolicy,
            shown,
            seed=seed,
            device="cpu",
            policy_kwargs={"scorer": networks},
            learning_rate=lambda left: rate * left,
            **chosen,
        )

        def take(now: int) -> TrainedScorer:
            return TrainedScorer(now, architecture, search.mean, search.std, model.policy.mlp_extractor.tensors())

        return learn(
            model,
            take,
            steps=steps,
            snapshots=snapshots,
            log_dir=log_dir,
            on_step=on_step,
            tally=tally,
            learn_from=learn_from,
        )
