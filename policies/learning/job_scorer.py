"""The scheduling scorer in torch, with a critic beside it, as a policy of sb3-contrib's MaskablePPO.

Imported by ``maskable_ppo`` alone, and only when a training starts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import nn

from ..network import scorer_shapes, unflatten
from .features import ScorerSearch
from .job_rows import RowShapes


class JobScorer(nn.Module):
    """Actor and critic over the vectors of :class:`~handrail.policies.learning.job_rows.JobRows`.

    The actor is ``ReplicaScorer``'s function of the same features: a linear part plus tanh layers, shared by all rows.
    Its linear weights are ``start + first_std * theta`` over the temperature: ``theta`` starts at 0 (that is, at the
    search's start), and one step of the optimiser moves each weight in proportion to the deviation that a search would
    try. Hidden layers start at random below output weights of 0, so that they change nothing at first.

    The critic is two tanh layers over the mean and the maximum of the rows that are taken, their share, and the global
    fields.

    Args:
        shapes: Where the parts of an input stand.
        search: Where training starts.
        temperature: The start's scores are divided by it: the higher, the more is explored.
        critic: Size of the critic's layers.
    """

    _start: torch.Tensor
    _step: torch.Tensor

    def __init__(self, shapes: RowShapes, search: ScorerSearch, temperature: float, critic: int) -> None:
        super().__init__()
        self._shapes = shapes
        self._hidden = search.hidden
        tensors = unflatten(search.start / temperature, scorer_shapes(shapes.features, search.hidden))
        steps = unflatten(search.first_std / temperature, scorer_shapes(shapes.features, search.hidden))
        self.register_buffer("_start", torch.as_tensor(tensors["linear"], dtype=torch.float32))
        self.register_buffer("_step", torch.as_tensor(steps["linear"], dtype=torch.float32))
        self.theta = nn.Parameter(torch.zeros(shapes.features))
        widths = [shapes.features, *search.hidden]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
        self.output = nn.Parameter(torch.zeros(widths[-1])) if search.hidden else None
        pooled = 2 * shapes.features + 1 + shapes.globals
        self.critic = nn.Sequential(nn.Linear(pooled, critic), nn.Tanh(), nn.Linear(critic, critic), nn.Tanh())
        self.latent_dim_vf = critic

    @property
    def linear(self) -> torch.Tensor:
        """Weights of the linear part, shape (features,)."""
        return self._start + self._step * self.theta

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of all choices, shape (batch, choices), and what the value is read from."""
        return self.forward_actor(vectors), self.forward_critic(vectors)

    def forward_actor(self, vectors: torch.Tensor) -> torch.Tensor:
        """Scores of all choices, shape (batch, choices)."""
        z = self._rows(vectors)
        scores = z @ self.linear
        if self.output is not None:
            for layer in self.layers:
                z = torch.tanh(layer(z))
            scores = scores + z @ self.output
        return scores

    def forward_critic(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the value is read from, shape (batch, critic)."""
        shapes = self._shapes
        rows = self._rows(vectors)
        first = shapes.choices * shapes.features
        taken = vectors[:, first : first + shapes.choices, None]
        mean = (rows * taken).sum(dim=1) / taken.sum(dim=1).clamp(min=1.0)
        largest = rows.masked_fill(taken == 0.0, -10.0).amax(dim=1)
        context = vectors[:, first + shapes.choices : -1]
        return self.critic(torch.cat((mean, largest, taken.mean(dim=1), context), dim=1))

    def _rows(self, vectors: torch.Tensor) -> torch.Tensor:
        shapes = self._shapes
        return vectors[:, : shapes.choices * shapes.features].reshape(-1, shapes.choices, shapes.features)

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """The actor as ``network.scorer_shapes`` names its tensors."""
        found = {"linear": self.linear}
        for name, parameter in self.layers.named_parameters():
            found[f"hidden.{name}"] = parameter
        if self.output is not None:
            found["output"] = self.output
        return {name: tensor.detach().numpy().astype(np.float64) for name, tensor in found.items()}


class JobScorerPolicy(MaskableActorCriticPolicy):
    """MaskablePPO's policy with a :class:`JobScorer` for its networks.

    Args:
        scorer: Arguments of ``JobScorer`` by name, beside what MaskablePPO itself passes.
    """

    def __init__(self, *args: Any, scorer: dict[str, Any], **kwargs: Any) -> None:
        self._scorer = scorer
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        self.mlp_extractor = JobScorer(**self._scorer)  # type: ignore[assignment]
        self.action_net = nn.Identity()
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 1)
        self.optimizer = self.optimizer_class(self.parameters(), **{"lr": lr_schedule(1), **self.optimizer_kwargs})
