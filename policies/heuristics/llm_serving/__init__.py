"""Routing heuristics for LLM serving, by their names on the command line."""

from __future__ import annotations

from ....envs.common import Layout
from ....traces.errors import HandrailError
from .base import PLACEBO_TIE_TOLERANCE, RoutingHeuristic, ScoredHeuristic
from .blind import RandomChoice, RoundRobin
from .informed import ExpectedDrain, LMetric, PrefixAffinity
from .load import LeastRequests, LeastTokens, PowerOfTwo, VllmDataParallel

HEURISTICS: dict[str, type[RoutingHeuristic]] = {
    cls.name: cls
    for cls in (
        RandomChoice,
        RoundRobin,
        LeastRequests,
        LeastTokens,
        ExpectedDrain,
        PowerOfTwo,
        VllmDataParallel,
        LMetric,
        PrefixAffinity,
    )
}


def make_heuristic(name: str, layout: Layout, seed: int = 0, tie_seed: int | None = None) -> RoutingHeuristic:
    """Build a routing heuristic by name; ``tie_seed`` makes it its own placebo (see ``RoutingHeuristic``).

    Raises:
        HandrailError: No heuristic has that name, or the layout lacks a field that it reads.
    """
    try:
        cls = HEURISTICS[name]
    except KeyError:
        raise HandrailError(f"there is no heuristic {name!r}; choose one of {', '.join(HEURISTICS)}") from None
    return cls(layout, seed, tie_seed)


__all__ = [
    "HEURISTICS",
    "PLACEBO_TIE_TOLERANCE",
    "ExpectedDrain",
    "LMetric",
    "LeastRequests",
    "LeastTokens",
    "PowerOfTwo",
    "PrefixAffinity",
    "RandomChoice",
    "RoundRobin",
    "RoutingHeuristic",
    "ScoredHeuristic",
    "VllmDataParallel",
    "make_heuristic",
]
