"""The prefetch scorer in torch, with a critic beside it, as a policy of Stable-Baselines3's PPO.

Imported by ``prefetch_ppo`` alone, and only when a training starts.
"""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from .job_scorer import JobScorer


class ArmScorerPolicy(ActorCriticPolicy):
    """PPO's policy with a ``JobScorer`` for its networks: a row an arm instead of a job, and no arm masked out.

    Args:
        scorer: Arguments of ``JobScorer`` by name, beside what PPO itself passes.
    """

    def __init__(self, *args: Any, scorer: dict[str, Any], **kwargs: Any) -> None:
        self._scorer = scorer
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        self.mlp_extractor = JobScorer(**self._scorer)  # type: ignore[assignment]
        self.action_net = nn.Identity()
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 1)
        self.optimizer = self.optimizer_class(self.parameters(), **{"lr": lr_schedule(1), **self.optimizer_kwargs})
