"""Routing heuristics for LLM serving, by their names on the command line."""

from __future__ import annotations

from ..base import PLACEBO_TIE_TOLERANCE
from .base import RoutingHeuristic, ScoredHeuristic
from .blind import RandomChoice, RoundRobin
from .books import OwnBooks
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
        OwnBooks,
    )
}

__all__ = [
    "HEURISTICS",
    "PLACEBO_TIE_TOLERANCE",
    "ExpectedDrain",
    "LMetric",
    "LeastRequests",
    "LeastTokens",
    "OwnBooks",
    "PowerOfTwo",
    "PrefixAffinity",
    "RandomChoice",
    "RoundRobin",
    "RoutingHeuristic",
    "ScoredHeuristic",
    "VllmDataParallel",
]
