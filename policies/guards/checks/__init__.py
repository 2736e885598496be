"""The checks, one a file, each knowing nothing of the others; the registry says which config makes which check.

A check's constructor takes its config and the observation layout. Checks import the guard's verdict and context and the
shared layout, never a policy.
"""

from __future__ import annotations

from .base import Check, CheckModel, ExecutionWatcher, GuardModel
from .breaker import OutcomeBreaker
from .breaker_config import BreakerConfig
from .budget import BudgetCheck, BudgetConfig
from .contract import ContractCheck, ContractConfig
from .control_breaker import ControlBreaker
from .control_breaker_config import ControlBreakerConfig
from .cost_margin import CostMarginCheck, CostMarginConfig
from .disagreement import DisagreementCheck, DisagreementConfig
from .gate import GateCheck, GateConfig
from .idling import IdlingCheck, IdlingConfig
from .novelty import NoveltyCheck, NoveltyConfig
from .plausibility import PlausibilityCheck
from .plausibility_config import PlausibilityConfig
from .rate_limit import RateLimitCheck, RateLimitConfig
from .registry import build_check, known_checks, register_check
from .reservation import ReservationCheck, ReservationConfig
from .starvation import StarvationCheck, StarvationConfig
from .twin import TwinCheck, TwinConfig
from .value_disagreement import ValueDisagreementCheck, ValueDisagreementConfig

register_check(ContractConfig, ContractCheck)
register_check(PlausibilityConfig, PlausibilityCheck)
register_check(NoveltyConfig, NoveltyCheck)
register_check(DisagreementConfig, DisagreementCheck)
register_check(ValueDisagreementConfig, ValueDisagreementCheck)
register_check(CostMarginConfig, CostMarginCheck)
register_check(RateLimitConfig, RateLimitCheck)
register_check(TwinConfig, TwinCheck)
register_check(BreakerConfig, OutcomeBreaker)
register_check(ControlBreakerConfig, ControlBreaker)
register_check(StarvationConfig, StarvationCheck)
register_check(ReservationConfig, ReservationCheck)
register_check(IdlingConfig, IdlingCheck)
register_check(GateConfig, GateCheck)
register_check(BudgetConfig, BudgetCheck)

__all__ = [
    "BreakerConfig",
    "BudgetCheck",
    "BudgetConfig",
    "Check",
    "CheckModel",
    "ContractCheck",
    "ContractConfig",
    "ControlBreaker",
    "ControlBreakerConfig",
    "CostMarginCheck",
    "CostMarginConfig",
    "DisagreementCheck",
    "DisagreementConfig",
    "ExecutionWatcher",
    "GateCheck",
    "GateConfig",
    "GuardModel",
    "IdlingCheck",
    "IdlingConfig",
    "NoveltyCheck",
    "NoveltyConfig",
    "OutcomeBreaker",
    "PlausibilityCheck",
    "PlausibilityConfig",
    "RateLimitCheck",
    "RateLimitConfig",
    "ReservationCheck",
    "ReservationConfig",
    "StarvationCheck",
    "StarvationConfig",
    "TwinCheck",
    "TwinConfig",
    "ValueDisagreementCheck",
    "ValueDisagreementConfig",
    "build_check",
    "known_checks",
    "register_check",
]
