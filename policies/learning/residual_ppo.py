"""PPO of a residual beside a frozen clone of the heuristic that has ruled so far.

From AWARE (Qiu et al., "AWARE: Automate Workload Autoscaling with Reinforcement Learning in Production Cloud Systems",
USENIX ATC 2023) comes the bootstrapping: an agent is first trained offline on what the heuristic did, and only then
explores. Not taken are its meta-learner (an embedding of the workload), its watch over the reward that triggers
retraining, and that the heuristic goes on ruling until the offline agent earns as much: there a guard stands here. The
sum of frozen clone and residual is of Silver et al., "Residual Policy Learning" (arXiv 1812.06298), on logits.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..card import MlpArchitecture
from .cloning import Clone
from .executed_actions import LearnFrom
from .ppo import SETTINGS
from .sb3 import CLIP, HIDDEN, TrainedNetwork, learn, training_envs, training_packages
from .tally import TrainingTally


def train_residual_ppo(
    env_fns: Sequence[Callable[[], Any]],
    clone: Clone,
    *,
    steps: int,
    seed: int = 0,
    log_dir: Path | None = None,
    snapshots: int = 5,
    settings: dict[str, Any] | None = None,
    on_step: Callable[[int], None] | None = None,
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
) -> list[TrainedNetwork]:
    """Train on the environments that ``env_fns`` make; return the clone itself, at step 0, and then snapshots.

    Args:
        env_fns: One function for each environment of the ``DummyVecEnv``; discrete actions, Box observations.
        clone: What the residual is added to; it does not learn.
        steps: Environment steps in all, rounded up to whole rollouts.
        seed: Of the residual, sampling and environments.
        log_dir: Where TensorBoard events go.
        snapshots: How many networks to keep at most for validation to choose from, the clone aside.
        settings: Changes to ``ppo.SETTINGS``, passed to SB3.
        on_step: Told the environment steps taken so far.
        tally: Counts what the environments tell of every step, and takes down the clone's agreement.
        learn_from: Behind a guard, whether the agent's own choice or what was executed in its place is learned from.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or ``steps`` is below 1.
    """
    sb3, _ = training_packages()
    policy = importlib.import_module(f"{__package__}.residual_policy").ResidualPolicy
    chosen = {**SETTINGS, **(settings or {})}
    architecture = MlpArchitecture(hidden=tuple(2 * size for size in HIDDEN), activation="tanh", clip=CLIP)
    if tally is not None:
        tally.clone_agreement = clone.agreement
    with training_envs(env_fns, seed, chosen["gamma"], norm_obs=False) as envs:
        model = sb3.PPO(policy, envs, seed=seed, device="cpu", policy_kwargs={"clone": clone}, **chosen)

        def take(now: int) -> TrainedNetwork:
            return TrainedNetwork(now, architecture, clone.mean, clone.std, model.policy.mlp_extractor.tensors())

        first = take(0)
        return [
            first,
            *learn(
                model,
                take,
                steps=steps,
                snapshots=snapshots,
                log_dir=log_dir,
                on_step=on_step,
                tally=tally,
                learn_from=learn_from,
            ),
        ]
