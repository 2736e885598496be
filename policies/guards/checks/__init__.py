"""The checks, one a file, each knowing nothing of the others; ``BUILDERS`` says which config makes which check.

A check's constructor takes its config and the observation layout. Checks import the guard's verdict and context and the
shared layout, never a policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Check, ExecutionWatcher, GuardModel
from .breaker import OutcomeBreaker
from .breaker_config import BreakerConfig
from .budget import BudgetCheck, BudgetConfig
from .contract import ContractCheck, ContractConfig
from .cost_margin import CostMarginCheck, CostMarginConfig
from .gate import GateCheck, GateConfig
from .idling import IdlingCheck, IdlingConfig
from .reservation import ReservationCheck, ReservationConfig
from .starvation import StarvationCheck, StarvationConfig

BUILDERS: dict[type[GuardModel], Callable[[Any, Any], Check]] = {
    ContractConfig: ContractCheck,
    CostMarginConfig: CostMarginCheck,
    BreakerConfig: OutcomeBreaker,
    StarvationConfig: StarvationCheck,
    ReservationConfig: ReservationCheck,
    IdlingConfig: IdlingCheck,
    GateConfig: GateCheck,
    BudgetConfig: BudgetCheck,
}

__all__ = [
    "BUILDERS",
    "BreakerConfig",
    "BudgetCheck",
    "BudgetConfig",
    "Check",
    "ContractCheck",
    "ContractConfig",
    "CostMarginCheck",
    "CostMarginConfig",
    "ExecutionWatcher",
    "GateCheck",
    "GateConfig",
    "GuardModel",
    "IdlingCheck",
    "IdlingConfig",
    "OutcomeBreaker",
    "ReservationCheck",
    "ReservationConfig",
    "StarvationCheck",
    "StarvationConfig",
]
