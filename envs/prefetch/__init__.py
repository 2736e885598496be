"""Cache prefetching: a SimPy model of a cache in front of a bandwidth-limited tier, and prefetching over it."""

from .arms import DEFAULT_MENU, Arm
from .config import CacheConfig, MiddleConfig, Slowdown, TierConfig
from .default_cache import default_cache
from .hidden import HiddenModel
from .layout import ARM_FIELDS, GLOBAL_FIELDS, TELEMETRY_FIELDS, layout_for
from .ledger import PrefetchCounts
from .observer import PrefetchObserver
from .results import FIRST_USE, HIT, LATE, MERGED, MISS, PrefetchResults
from .simulator import DecisionPoint, Outcome, PrefetchSimulator

__all__ = [
    "ARM_FIELDS",
    "DEFAULT_MENU",
    "FIRST_USE",
    "GLOBAL_FIELDS",
    "HIT",
    "LATE",
    "MERGED",
    "MISS",
    "TELEMETRY_FIELDS",
    "Arm",
    "CacheConfig",
    "DecisionPoint",
    "HiddenModel",
    "MiddleConfig",
    "Outcome",
    "PrefetchCounts",
    "PrefetchObserver",
    "PrefetchResults",
    "PrefetchSimulator",
    "Slowdown",
    "TierConfig",
    "default_cache",
    "layout_for",
]
