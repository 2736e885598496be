"""A frozen clone and a residual beside it in torch, as a policy of Stable-Baselines3's PPO.

Imported by ``residual_ppo`` alone, and only when a training starts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from .cloning import Clone, layer_tensors
from .sb3 import CLIP, HIDDEN, linear_layers


class CloneAndResidual(nn.Module):
    """Actor and critic over raw observations, which are normalised by the clone's statistics.

    The actor's logits are the clone's plus the residual's. The clone does not learn; the residual's last layer starts
    at 0, so that training starts at the clone exactly.

    Args:
        clone: What the residual is added to.
    """

    _mean: torch.Tensor
    _scale: torch.Tensor

    def __init__(self, clone: Clone) -> None:
        super().__init__()
        self.register_buffer("_mean", torch.as_tensor(clone.mean, dtype=torch.float32))
        self.register_buffer("_scale", torch.as_tensor(1.0 / clone.std, dtype=torch.float32))
        n_inputs, n_actions = len(clone.mean), len(clone.tensors[f"layers.{len(HIDDEN)}.bias"])
        self.clone = _perceptron((n_inputs, *HIDDEN, n_actions))
        with torch.no_grad():
            for i, layer in enumerate(linear_layers(self.clone)):
                layer.weight.copy_(torch.as_tensor(clone.tensors[f"layers.{i}.weight"]))
                layer.bias.copy_(torch.as_tensor(clone.tensors[f"layers.{i}.bias"]))
        self.clone.requires_grad_(False)
        self.residual = _perceptron((n_inputs, *HIDDEN, n_actions))
        last = linear_layers(self.residual)[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.critic = nn.Sequential(_perceptron((n_inputs, *HIDDEN)), nn.Tanh())
        self.latent_dim_vf = HIDDEN[-1]

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of all choices, shape (batch, choices), and what the value is read from."""
        return self.forward_actor(observations), self.forward_critic(observations)

    def forward_actor(self, observations: torch.Tensor) -> torch.Tensor:
        """Logits of all choices, shape (batch, choices)."""
        z = self._normalised(observations)
        return self.clone(z) + self.residual(z)

    def forward_critic(self, observations: torch.Tensor) -> torch.Tensor:
        """What the value is read from, shape (batch, HIDDEN[-1])."""
        return self.critic(self._normalised(observations))

    def _normalised(self, observations: torch.Tensor) -> torch.Tensor:
        return ((observations - self._mean) * self._scale).clamp(-CLIP, CLIP)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Clone and residual as one perceptron of twice the width, as ``network.mlp_shapes`` names its tensors."""
        ours, theirs = layer_tensors(linear_layers(self.clone)), layer_tensors(linear_layers(self.residual))
        merged: dict[str, NDArray[np.float32]] = {}
        last = len(HIDDEN)
        for i in range(last + 1):
            weight, bias = f"layers.{i}.weight", f"layers.{i}.bias"
            first, second = ours[weight], theirs[weight]
            if i == 0:
                merged[weight] = np.vstack((first, second))
            elif i < last:
                apart = np.zeros_like(first)
                merged[weight] = np.block([[first, apart], [apart, second]])
            else:
                merged[weight] = np.hstack((first, second))
            merged[bias] = ours[bias] + theirs[bias] if i == last else np.concatenate((ours[bias], theirs[bias]))
        return merged


class ResidualPolicy(ActorCriticPolicy):
    """PPO's policy with a :class:`CloneAndResidual` for its networks.

    Args:
        clone: What the residual is added to, beside what PPO itself passes.
    """

    def __init__(self, *args: Any, clone: Clone, **kwargs: Any) -> None:
        self._clone = clone
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        self.mlp_extractor = CloneAndResidual(self._clone)  # type: ignore[assignment]
        self.action_net = nn.Identity()
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 1)
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer = self.optimizer_class(learned, **{"lr": lr_schedule(1), **self.optimizer_kwargs})


def _perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
