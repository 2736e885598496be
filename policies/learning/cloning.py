"""Behaviour cloning: a network that chooses as a heuristic was seen to choose, by supervised learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from ..interface import Policy
from .sb3 import CLIP, EPSILON, HIDDEN, linear_layers, training_packages

EPOCHS = 30
BATCH = 256
LEARNING_RATE = 2e-3
HELD_OUT = 0.1
"""Share of the demonstrations, the last ones, on which agreement is measured; they are not learned from."""

MIN_DEMONSTRATIONS = 20


class Demonstrations:
    """A policy that decides as another does, and keeps every ``stride``-th observation with the choice made upon it.

    Attributes:
        observations: What was seen, each of shape (layout.size,).
        actions: What was chosen.
    """

    def __init__(self, policy: Policy, stride: int = 1) -> None:
        self._policy = policy
        self._stride = stride
        self._seen = 0
        self.observations: list[NDArray[np.float32]] = []
        self.actions: list[int] = []

    def predict(
        self, observation: NDArray[np.float32], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """The other policy's answer."""
        action, state = self._policy.predict(observation, state, episode_start, deterministic)
        if self._seen % self._stride == 0:
            self.observations.append(observation.copy())
            self.actions.append(int(action))
        self._seen += 1
        return action, state


@dataclass(frozen=True, slots=True)
class Clone:
    """A perceptron with tanh layers of ``sb3.HIDDEN`` over normalised, clipped observations.

    Attributes:
        mean: Of the observations, shape (layout.size,).
        std: Of the observations, shape (layout.size,).
        tensors: Weights and biases as ``network.mlp_shapes`` names them, float32.
        agreement: Share of held-out decisions in which it chooses as the policy that it was cloned from.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    tensors: dict[str, NDArray[np.float32]]
    agreement: float


def clone_policy(
    observations: Sequence[NDArray[np.float32]], actions: Sequence[int], n_actions: int, *, seed: int = 0
) -> Clone:
    """Fit a clone to demonstrations by cross-entropy, with Adam.

    Args:
        observations: What was seen, in the order of time.
        actions: What was chosen upon it.
        n_actions: How many choices there are.
        seed: Of first weights and of the order of batches.

    Raises:
        HandrailError: The extra ``[train]`` is not installed, or there are fewer than ``MIN_DEMONSTRATIONS``.
    """
    _, torch = training_packages()
    n = len(observations)
    if n < MIN_DEMONSTRATIONS:
        raise HandrailError(f"a clone needs at least {MIN_DEMONSTRATIONS} decisions of the fallback, got {n}")
    seen = np.asarray(observations, dtype=np.float64)
    mean, std = seen.mean(axis=0), np.sqrt(seen.var(axis=0) + EPSILON)
    inputs = torch.as_tensor(np.clip((seen - mean) / std, -CLIP, CLIP), dtype=torch.float32)
    labels = torch.as_tensor(np.asarray(actions, dtype=np.int64))
    learned = n - max(int(HELD_OUT * n), 1)
    network, generator = _network(torch, inputs.shape[1], n_actions, seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(EPOCHS):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1.0 - epoch / EPOCHS)
        for rows in torch.randperm(learned, generator=generator).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        chosen = network(inputs[learned:]).argmax(dim=1)
    agreement = float((chosen == labels[learned:]).float().mean())
    return Clone(mean, std, layer_tensors(linear_layers(network)), agreement)


def layer_tensors(layers: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of torch's linear layers, copied, as ``network.mlp_shapes`` names them."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for i, layer in enumerate(layers):
        tensors[f"layers.{i}.weight"] = layer.weight.detach().cpu().numpy().astype(np.float32, copy=True)
        tensors[f"layers.{i}.bias"] = layer.bias.detach().cpu().numpy().astype(np.float32, copy=True)
    return tensors


def _network(torch: Any, n_inputs: int, n_actions: int, seed: int) -> tuple[Any, Any]:
    """A fresh perceptron and the generator that its weights were drawn from; torch's global one is left alone."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[Any] = []
    width = n_inputs
    for size in (*HIDDEN, n_actions):
        layer = torch.nn.utils.skip_init(torch.nn.Linear, width, size)
        bound = 1.0 / width**0.5
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
        layers += [layer, torch.nn.Tanh()]
        width = size
    return torch.nn.Sequential(*layers[:-1]), generator
