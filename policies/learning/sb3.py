"""What PPO and DQN share: the optional packages, normalised environments, snapshots, export to NumPy tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..card import MlpArchitecture
from ..network import Mlp
from .executed_actions import LearnFrom, credit_executed
from .tally import TrainingTally

Snapshot = TypeVar("Snapshot")

CLIP = 10.0
"""Normalised observations are clipped to +-CLIP, in training and after it."""

EPSILON = 1e-8
"""Added to an observation's variance before its root is taken."""

HIDDEN = (64, 64)
"""Sizes of the hidden layers."""


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """One state of a network in training, in NumPy.

    Attributes:
        steps: Environment steps taken until then.
        architecture: What ``policy.json`` says of it.
        mean: Of the observations, shape (layout.size,).
        std: Of the observations, shape (layout.size,).
        tensors: Weights and biases as ``network.mlp_shapes`` names them, float32.
    """

    steps: int
    architecture: MlpArchitecture
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    tensors: dict[str, NDArray[np.float32]]

    def network(self, layout: Layout) -> Mlp:
        """The network for NumPy inference."""
        return Mlp(layout, self.mean, self.std, self.architecture.clip, self.architecture.activation, self.tensors)


def training_packages() -> tuple[Any, Any]:
    """``(stable_baselines3, torch)``, imported now.

    Raises:
        HandrailError: One of them is not installed.
    """
    try:
        return importlib.import_module("stable_baselines3"), importlib.import_module("torch")
    except ImportError as error:
        raise HandrailError(
            f"training with ppo or dqn needs the extra [train] ({error}); in a clone: pip install -e '.[train]'"
        ) from None


@contextmanager
def training_envs(
    env_fns: Sequence[Callable[[], Any]], seed: int, gamma: float, *, norm_obs: bool = True
) -> Iterator[Any]:
    """``normalised_envs`` as :func:`on_one_thread` gives them."""
    training_packages()
    with on_one_thread(normalised_envs(env_fns, seed, gamma, norm_obs=norm_obs)) as envs:
        yield envs


@contextmanager
def on_one_thread(envs: Any) -> Iterator[Any]:
    """A vector environment that is closed at the end, with torch on one thread meanwhile.

    Networks this small lose time on several threads, and their sums would depend on how many there are.
    """
    _, torch = training_packages()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield envs
    finally:
        torch.set_num_threads(threads)
        envs.close()


def normalised_envs(env_fns: Sequence[Callable[[], Any]], seed: int, gamma: float, *, norm_obs: bool = True) -> Any:
    """A :func:`normalised` ``DummyVecEnv``."""
    vec_env = importlib.import_module("stable_baselines3.common.vec_env")
    envs = vec_env.DummyVecEnv(list(env_fns))
    envs.seed(seed)
    return normalised(envs, gamma, norm_obs=norm_obs)


def normalised(envs: Any, gamma: float, *, norm_obs: bool = True) -> Any:
    """A vector environment with normalised rewards, and observations unless ``norm_obs`` is off."""
    vec_env = importlib.import_module("stable_baselines3.common.vec_env")
    watched = vec_env.VecMonitor(envs)
    return vec_env.VecNormalize(
        watched, norm_obs=norm_obs, norm_reward=True, clip_obs=CLIP, gamma=gamma, epsilon=EPSILON
    )


def fit(
    model: Any,
    linears: Callable[[Any], Sequence[Any]],
    activation: Literal["tanh", "relu"],
    *,
    steps: int,
    snapshots: int,
    log_dir: Path | None,
    on_step: Callable[[int], None] | None,
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
    on_rollout: Callable[[], dict[str, float]] | None = None,
) -> list[TrainedNetwork]:
    """Train ``model`` and return its network at ``snapshots`` evenly spaced points, the end among them.

    Args:
        model: A Stable-Baselines3 model over ``normalised_envs``.
        linears: Finds the linear layers from observation to logits in the model's policy.
        activation: What stands between them.
        steps: Environment steps.
        snapshots: Networks to return; fewer where rollouts, which are whole, are longer than the distance between two.
        log_dir: Where TensorBoard events go, or ``None``.
        on_step: Told the environment steps taken so far.
        tally: Counts what the environments tell of every step.
        learn_from: ``executed`` needs environments behind a guard; see :func:`executed_actions.credit_executed`.
        on_rollout: Called after every rollout; what it returns is logged with it.

    Raises:
        HandrailError: ``steps`` or ``snapshots`` is below 1.
    """

    def take(now: int) -> TrainedNetwork:
        return snapshot(model, linears(model.policy), activation, now)

    return learn(
        model,
        take,
        steps=steps,
        snapshots=snapshots,
        log_dir=log_dir,
        on_step=on_step,
        tally=tally,
        learn_from=learn_from,
        on_rollout=on_rollout,
    )


def learn(
    model: Any,
    take: Callable[[int], Snapshot],
    *,
    steps: int,
    snapshots: int,
    log_dir: Path | None,
    on_step: Callable[[int], None] | None,
    tally: TrainingTally | None = None,
    learn_from: LearnFrom = "proposed",
    on_rollout: Callable[[], dict[str, float]] | None = None,
) -> list[Snapshot]:
    """Train ``model`` as :func:`fit` does; ``take``, told the steps so far, makes each snapshot.

    Raises:
        HandrailError: ``steps`` or ``snapshots`` is below 1.
    """
    if steps < 1 or snapshots < 1:
        raise HandrailError(f"--steps must be at least 1, got {steps} (and snapshots {snapshots})")
    callbacks = importlib.import_module("stable_baselines3.common.callbacks")
    taken: list[Snapshot] = []
    every = max(steps // snapshots, 1)

    class Watch(callbacks.BaseCallback):
        def _on_step(self) -> bool:
            if tally is not None:
                tally.note(self.locals["infos"])
            if learn_from == "executed":
                credit_executed(self.locals, self.model.policy)
            if on_step is not None:
                on_step(self.num_timesteps)
            return True

        def _on_rollout_end(self) -> None:
            for name, value in ({} if on_rollout is None else on_rollout()).items():
                self.logger.record(name, value)

        def _on_rollout_start(self) -> None:
            # The network has just been updated with everything so far; a snapshot in mid-rollout would repeat it.
            if self.num_timesteps >= every * (len(taken) + 1):
                taken.append(take(self.num_timesteps))

    if log_dir is not None:
        logger = importlib.import_module("stable_baselines3.common.logger")
        log_dir.mkdir(parents=True, exist_ok=True)
        model.set_logger(logger.configure(str(log_dir), ["tensorboard"]))
    model.learn(total_timesteps=steps, callback=Watch())
    taken.append(take(model.num_timesteps))
    return taken


def snapshot(model: Any, linears: Sequence[Any], activation: Literal["tanh", "relu"], steps: int) -> TrainedNetwork:
    """The model's present network and observation statistics, copied into NumPy."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for i, layer in enumerate(linears):
        tensors[f"layers.{i}.weight"] = layer.weight.detach().cpu().numpy().astype(np.float32, copy=True)
        tensors[f"layers.{i}.bias"] = layer.bias.detach().cpu().numpy().astype(np.float32, copy=True)
    hidden = tuple(int(layer.weight.shape[0]) for layer in linears[:-1])
    statistics = model.get_vec_normalize_env().obs_rms
    return TrainedNetwork(
        steps=int(steps),
        architecture=MlpArchitecture(hidden=hidden, activation=activation, clip=CLIP),
        mean=np.array(statistics.mean, dtype=np.float64),
        std=np.sqrt(np.array(statistics.var, dtype=np.float64) + EPSILON),
        tensors=tensors,
    )


def linear_layers(*modules: Any) -> list[Any]:
    """The linear layers of torch modules, in order."""
    _, torch = training_packages()
    return [layer for module in modules for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
