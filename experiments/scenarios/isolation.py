"""A policy that a name stands for, in a process of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...policies.isolated import IsolatedPolicy
from ..domains import domain_of


def isolated(spec: str, system: Any, seed: int, timeout_s: float) -> IsolatedPolicy:
    """What ``--policy`` names, for a system's observations, with ``timeout_s`` seconds of wall time a decision.

    Raises:
        HandrailError: The policy cannot be built, or the time-out is not above 0.
    """
    return IsolatedPolicy(partial(_build, spec, system, seed), timeout_s)


def _build(spec: str, system: Any, seed: int) -> Any:
    return domain_of(system).make_policy(spec, system, seed)
