"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) of a scheduling scorer, illegal choices masked out
(Huang & Ontanon, arXiv 2006.14171)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..card import FeatureCard, ScorerArchitecture
from ..network import ReplicaScorer
from .executed_actions import LearnFrom
from .features import ScorerSearch
from .job_rows import JobRows, RowShapes
from .sb3 import learn, training_envs, training_packages
from .tally import TrainingTally

SETTINGS: dict[str, Any] = {
    "n_steps": 512,
    "batch_size": 512,
    "n_epochs": 5,
    "gamma": 0.998,
    "gae_lambda": 0.97,
    "horizon_s": 1_000_000.0,
    "ent_coef": 0.0,
    "learning_rate": 5e-3,
    "clip_range": 0.2,
    "target_kl": 0.02,
    "temperature": 0.25,
    "critic": 64,
}
"""Settings, for 8 environments and 50,000 to 500,000 steps.

Time steps vary from 0 (jobs that start together) to hours, so returns are discounted in simulated time: a reward
``t`` seconds ahead counts ``exp(-t / horizon_s)``; ``gamma``, by decision, is for where ``horizon_s`` is ``None`` and
for the scale of rewards. A horizon of a day is too short: it does not see what wide jobs pay that are kept waiting.
``temperature`` is that of the start's scores: the lower, the closer the sampled policy keeps to the fallback (at 1 its
own noise costs more than there is to gain). The learning rate falls to 0 in a straight line; it is in units of the
search's first deviations over the temperature (see ``job_scorer``), hence large: lower it with the temperature, as long
steps end in policies that starve wide jobs. ``critic`` is the size of the critic's layers.
"""


@dataclass(frozen=True, slots=True)
class TrainedScorer:
    """One state of a scorer in training, in NumPy; ``label``, ``architecture``, ``mean``, ``std`` and ``tensors`` are
    what a policy folder and a validation need of it.

    Attributes:
        steps: Environment steps taken until then.
        architecture: What ``policy.json`` says of it.
        mean: Of the features, shape (n_features,).
        std: Of the features, shape (n_features,).
        tensors: As ``network.scorer_shapes`` names them.
    """

    steps: int
    architecture: ScorerArchitecture
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    tensors: dict[str, NDArray[np.float64]]

    @property
    def label(self) -> str:
        """``step-`` and the steps."""
        return f"step-{self.steps}"

    def network(self, layout: Layout) -> ReplicaScorer:
        """The network for NumPy inference."""
        features = [card.feature() for card in self.architecture.features]
        return ReplicaScorer(layout, features, self.mean, self.std, self.tensors)


def train_maskable_ppo(
    env_fns: Sequence[Callable[[], Any]],
    *,
    layout: Layout,
    search: ScorerSearch,
    steps: int,
    seed: int = 0,
    log_dir: Path | None = None,
    snapshots: int = 5,
    settings: dict[str, Any] | None = None,
    on_step: Callable[[int], None] | None = None,
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
) -> list[TrainedScorer]:
    """Train on the environments that ``env_fns`` make; return snapshots, the last one at the end.

    Training starts at ``search.start``; rewards are divided by the deviation of their returns. One thread, one seed:
    the same scorers.

    Args:
        env_fns: One function for each environment of the ``DummyVecEnv``: a ``ClusterSchedulingEnv``, best within
            :class:`~handrail.policies.learning.against_fallback.AgainstFallback`, or another with ``action_masks()``
            and observations of ``layout``.
        layout: Layout of the observations.
        search: Features, normalisation and start, as ``job_search`` gives them.
        steps: Environment steps in all, rounded up to whole rollouts.
        seed: Of network, sampling and environments.
        log_dir: Where TensorBoard events go.
        snapshots: How many scorers to keep at most for validation to choose from.
        settings: Changes to ``SETTINGS``; what is not named there goes to ``MaskablePPO``.
        on_step: Told the environment steps taken so far.
        tally: Counts what the environments tell of every step.
        learn_from: Behind a guard, whether the agent's own choice or what was executed in its place is learned from.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or ``steps`` is below 1.
    """
    contrib = _contrib()
    scorer = importlib.import_module(f"{__package__}.job_scorer")
    rollouts = importlib.import_module(f"{__package__}.timed_rollouts")
    chosen = {**SETTINGS, **(settings or {})}
    networks = {
        "shapes": RowShapes(layout, search),
        "search": search,
        "temperature": chosen.pop("temperature"),
        "critic": chosen.pop("critic"),
    }
    horizon_s = chosen.pop("horizon_s")
    rate = float(chosen.pop("learning_rate"))
    architecture = ScorerArchitecture(features=tuple(map(FeatureCard.of, search.features)), hidden=search.hidden)
    shown = [partial(_shown, env_fn, layout, search) for env_fn in env_fns]
    with training_envs(shown, seed, chosen["gamma"], norm_obs=False) as envs:
        model = contrib.MaskablePPO(
            scorer.JobScorerPolicy,
            envs,
            seed=seed,
            device="cpu",
            policy_kwargs={"scorer": networks},
            learning_rate=lambda left: rate * left,
            rollout_buffer_class=rollouts.TimedRolloutBuffer,
            rollout_buffer_kwargs={"horizon_s": horizon_s},
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


def _contrib() -> Any:
    """``sb3_contrib``, imported now.

    Raises:
        HandrailError: It or what it needs is not installed.
    """
    training_packages()
    try:
        return importlib.import_module("sb3_contrib")
    except ImportError as error:
        raise HandrailError(
            f"training with maskable-ppo needs the extra [train] ({error}); in a clone: pip install -e '.[train]'"
        ) from None


def _shown(env_fn: Callable[[], Any], layout: Layout, search: ScorerSearch) -> JobRows:
    return JobRows(env_fn(), layout, search)
