"""Deep Q-learning (Mnih et al., Nature 518, 2015) with Stable-Baselines3's ``MlpPolicy``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .executed_actions import LearnFrom
from .sb3 import HIDDEN, TrainedNetwork, fit, linear_layers, training_envs, training_packages
from .tally import TrainingTally

SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-4,
    "buffer_size": 100_000,
    "learning_starts": 2_000,
    "batch_size": 128,
    "gamma": 0.99,
    "train_freq": 8,
    "target_update_interval": 2_000,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.02,
}
"""Settings that differ from the library's or are stated for the record."""


def train_dqn(
    env_fns: Sequence[Callable[[], Any]],
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
    """Train on the environments that ``env_fns`` make; return snapshots, the last one at the end.

    Args:
        env_fns: One function for each environment of the ``DummyVecEnv``; discrete actions, Box observations.
        steps: Environment steps in all.
        seed: Of network, exploration and environments.
        log_dir: Where TensorBoard events go.
        snapshots: How many networks to keep at most for validation to choose from.
        settings: Changes to ``SETTINGS``, passed to SB3.
        on_step: Told the environment steps taken so far.
        tally: Counts what the environments tell of every step.
        learn_from: Behind a guard, whether the agent's own choice or what was executed in its place is learned from.
            Q-learning takes any behaviour, so the latter costs nothing.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or ``steps`` is below 1.
    """
    sb3, _ = training_packages()
    chosen = {**SETTINGS, **(settings or {})}
    with training_envs(env_fns, seed, chosen["gamma"]) as envs:
        model = sb3.DQN("MlpPolicy", envs, seed=seed, device="cpu", policy_kwargs={"net_arch": list(HIDDEN)}, **chosen)
        return fit(
            model,
            lambda policy: linear_layers(policy.q_net.q_net),
            "relu",
            steps=steps,
            snapshots=snapshots,
            log_dir=log_dir,
            on_step=on_step,
            tally=tally,
            learn_from=learn_from,
        )
