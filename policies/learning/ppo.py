"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) with Stable-Baselines3's ``MlpPolicy``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .sb3 import HIDDEN, TrainedNetwork, fit, linear_layers, training_envs, training_packages

SETTINGS: dict[str, Any] = {
    "n_steps": 1024,
    "batch_size": 256,
    "n_epochs": 5,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.005,
    "learning_rate": 3e-4,
}
"""Settings that differ from the library's or are stated for the record."""


def train_ppo(
    env_fns: Sequence[Callable[[], Any]],
    *,
    steps: int,
    seed: int = 0,
    log_dir: Path | None = None,
    snapshots: int = 5,
    settings: dict[str, Any] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[TrainedNetwork]:
    """Train on the environments that ``env_fns`` make; return snapshots, the last one at the end.

    Args:
        env_fns: One function for each environment of the ``DummyVecEnv``; discrete actions, Box observations.
        steps: Environment steps in all, rounded up to whole rollouts.
        seed: Of network, sampling and environments.
        log_dir: Where TensorBoard events go.
        snapshots: How many networks to keep at most for validation to choose from.
        settings: Changes to ``SETTINGS``, passed to SB3.
        on_step: Told the environment steps taken so far.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or ``steps`` is below 1.
    """
    sb3, _ = training_packages()
    chosen = {**SETTINGS, **(settings or {})}
    with training_envs(env_fns, seed, chosen["gamma"]) as envs:
        net_arch = {"pi": list(HIDDEN), "vf": list(HIDDEN)}
        model = sb3.PPO("MlpPolicy", envs, seed=seed, device="cpu", policy_kwargs={"net_arch": net_arch}, **chosen)
        return fit(
            model,
            lambda policy: linear_layers(policy.mlp_extractor.policy_net, policy.action_net),
            "tanh",
            steps=steps,
            snapshots=snapshots,
            log_dir=log_dir,
            on_step=on_step,
        )
