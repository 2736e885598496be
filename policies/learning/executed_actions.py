"""Crediting what a guard executed, in place of what the agent proposed, in Stable-Baselines3's rollouts."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

LearnFrom = Literal["proposed", "executed"]
"""Which action of a decision behind a guard the algorithm is told to have taken."""


def credit_executed(step: Mapping[str, Any], policy: Any) -> None:
    """Replace the actions of one collected step by ``info["executed"]``, before the library stores them.

    With on-policy algorithms the stored log-probabilities become those of the executed actions under the present
    policy, so that the first update starts at ratios of 1. The actions were not drawn from it all the same, and this is
    where the bias comes from that learning from executed actions has in PPO.

    Args:
        step: The local variables of the library's ``collect_rollouts`` at its callback; arrays are written in place.
        policy: The model's policy.
    """
    executed = np.array([info["executed"] for info in step["infos"]])
    if "buffer_actions" in step:  # off-policy: the replay buffer takes whatever was done
        stored = step["buffer_actions"]
        stored[...] = executed.reshape(stored.shape)
        return
    actions = step["actions"]
    if (actions.reshape(-1) == executed).all():
        return
    actions[...] = executed.reshape(actions.shape)
    torch = importlib.import_module("torch")
    masks = {"action_masks": step["action_masks"]} if "action_masks" in step else {}
    with torch.no_grad():
        _, log_probs, _ = policy.evaluate_actions(step["obs_tensor"], torch.as_tensor(actions), **masks)
    step["log_probs"].copy_(log_probs)
