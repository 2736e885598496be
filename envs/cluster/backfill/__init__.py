"""Passes of the standing scheduler: what it starts when something has changed. One file a rule."""

from __future__ import annotations

from collections.abc import Callable

from ..config import ClusterConfig
from ..state import ClusterState
from .conservative import ConservativePass
from .easy import easy_pass, start_heads
from .preempting import PreemptivePass

Pass = Callable[[ClusterState], None]


def _in_order(state: ClusterState) -> None:
    start_heads(state)


def make_pass(config: ClusterConfig, state: ClusterState) -> Pass:
    """The pass that ``config`` asks for, under the standard protocol."""
    if state.preemptive:
        return PreemptivePass(config.preemption)
    if config.backfill == "conservative":
        return ConservativePass()
    return easy_pass if config.backfill == "easy" else _in_order


__all__ = ["Pass", "easy_pass", "make_pass", "start_heads"]
