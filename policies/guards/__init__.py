"""Guard rails: a policy proposes, checks judge, a supervisor decides who rules, a recorder keeps
the evidence.

``config`` declares a guard and builds it, ``guarded_policy`` puts it around a policy and its fallback, ``checks`` has
one check a file, ``calibration`` finds the breaker's reference. Nothing here imports a policy or a simulator; what a
check reads of a domain it reads from the observation, by field name.
"""

from __future__ import annotations

from .calibration import ReferenceCalibrator, reference_curve
from .checks import (
    BreakerConfig,
    BudgetConfig,
    Check,
    ContractConfig,
    CostMarginConfig,
    GateConfig,
    IdlingConfig,
    ReservationConfig,
    StarvationConfig,
)
from .config import GuardConfig, build_guard
from .context import CheckContext, JudgedOutcome
from .guard import Guard
from .guarded_policy import GuardedPolicy, GuardedState
from .overdue_rule import OverdueRule
from .recorder import DecisionRecorder
from .supervisor import State, Supervisor, SupervisorConfig, Transition
from .verdict import Verdict

__all__ = [
    "BreakerConfig",
    "BudgetConfig",
    "Check",
    "CheckContext",
    "ContractConfig",
    "CostMarginConfig",
    "DecisionRecorder",
    "GateConfig",
    "Guard",
    "GuardConfig",
    "GuardedPolicy",
    "GuardedState",
    "IdlingConfig",
    "JudgedOutcome",
    "OverdueRule",
    "ReferenceCalibrator",
    "ReservationConfig",
    "StarvationConfig",
    "State",
    "Supervisor",
    "SupervisorConfig",
    "Transition",
    "Verdict",
    "build_guard",
    "reference_curve",
]
