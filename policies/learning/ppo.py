"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) with Stable-Baselines3's ``MlpPolicy``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...traces.errors import HandrailError
from .executed_actions import LearnFrom
from .sb3 import HIDDEN, TrainedNetwork, fit, linear_layers, training_envs, training_packages
from .tally import TrainingTally

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
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
    violation_limit: float | None = None,
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
        tally: Counts what the environments tell of every step, and takes down the multiplier.
        learn_from: Behind a guard, whether the agent's own choice or what was executed in its place is learned from.
        violation_limit: Share of outcomes that may miss their objective; missing more is priced by a Lagrange
            multiplier (see ``lagrangian``). ``None`` prices nothing.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, ``steps`` is below 1, or the limit is no share.
    """
    sb3, _ = training_packages()
    if violation_limit is not None and not 0.0 <= violation_limit < 1.0:
        raise HandrailError(f"--violation-limit must be at least 0 and below 1, got {violation_limit}")
    chosen = {**SETTINGS, **(settings or {})}
    with training_envs(env_fns, seed, chosen["gamma"]) as envs:
        priced = None
        if violation_limit is not None:
            priced = envs = importlib.import_module(f"{__package__}.lagrangian").PricedEnvs(envs, violation_limit)
        net_arch = {"pi": list(HIDDEN), "vf": list(HIDDEN)}
        model = sb3.PPO("MlpPolicy", envs, seed=seed, device="cpu", policy_kwargs={"net_arch": net_arch}, **chosen)

        def on_rollout() -> dict[str, float]:
            if priced is None:
                return {}
            found = priced.ascend()
            if tally is not None:
                tally.multiplier, tally.limit = priced.multiplier, violation_limit
            return found

        return fit(
            model,
            lambda policy: linear_layers(policy.mlp_extractor.policy_net, policy.action_net),
            "tanh",
            steps=steps,
            snapshots=snapshots,
            log_dir=log_dir,
            on_step=on_step,
            tally=tally,
            learn_from=learn_from,
            on_rollout=on_rollout,
        )
