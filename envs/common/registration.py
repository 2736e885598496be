"""Registering environments with Gymnasium, once."""

from __future__ import annotations

import gymnasium as gym


def register_once(env_id: str, entry_point: str) -> None:
    """Register ``env_id`` unless it is registered already, so that importing twice warns of nothing."""
    if env_id not in gym.registry:
        gym.register(id=env_id, entry_point=entry_point)
