"""Guard rails: a policy proposes, checks judge, a supervisor decides who rules, a recorder keeps
the evidence.

``config`` declares a guard and builds it, ``guarded_policy`` puts it around a policy and its fallback, ``checks`` has
one check a file, ``calibration`` finds the breaker's reference, ``observed_sample`` what novelty and plausibility
are measured against, ``forecast`` plays actions forward. Nothing here imports a policy or a simulator; what a check
reads of a domain it reads from the observation, by field name.
"""

from __future__ import annotations

from .calibration import ReferenceCalibrator, reference_curve
from .checks import (
    BreakerConfig,
    BudgetConfig,
    Check,
    CheckModel,
    ContractConfig,
    ControlBreakerConfig,
    CostMarginConfig,
    DisagreementConfig,
    GateConfig,
    IdlingConfig,
    NoveltyConfig,
    PlausibilityConfig,
    RateLimitConfig,
    ReservationConfig,
    StarvationConfig,
    TwinConfig,
    ValueDisagreementConfig,
    known_checks,
    register_check,
)
from .config import GuardConfig, build_guard, load_guard
from .conformal import conformal_quantile
from .context import CheckContext, JudgedOutcome
from .forecast import Forecast, Forecaster, play
from .guard import Charge, Guard
from .guarded_policy import GuardedPolicy, GuardedState
from .novelty_model import NoveltyModel, fit_novelty_model
from .observed_sample import NoveltyCalibrator, ObservedSample, fit_novelty, fit_ranges
from .overdue_rule import OverdueRule
from .recorder import DecisionRecorder
from .rollout import Rollout, RolloutConfig, Stage, StageChange
from .supervisor import State, Supervisor, SupervisorConfig, Transition
from .verdict import Verdict

__all__ = [
    "BreakerConfig",
    "BudgetConfig",
    "Charge",
    "Check",
    "CheckContext",
    "CheckModel",
    "ContractConfig",
    "ControlBreakerConfig",
    "CostMarginConfig",
    "DecisionRecorder",
    "DisagreementConfig",
    "Forecast",
    "Forecaster",
    "GateConfig",
    "Guard",
    "GuardConfig",
    "GuardedPolicy",
    "GuardedState",
    "IdlingConfig",
    "JudgedOutcome",
    "NoveltyCalibrator",
    "NoveltyConfig",
    "NoveltyModel",
    "ObservedSample",
    "OverdueRule",
    "PlausibilityConfig",
    "RateLimitConfig",
    "ReferenceCalibrator",
    "ReservationConfig",
    "Rollout",
    "RolloutConfig",
    "Stage",
    "StageChange",
    "StarvationConfig",
    "State",
    "Supervisor",
    "SupervisorConfig",
    "Transition",
    "TwinConfig",
    "ValueDisagreementConfig",
    "Verdict",
    "build_guard",
    "conformal_quantile",
    "fit_novelty",
    "fit_novelty_model",
    "fit_ranges",
    "known_checks",
    "load_guard",
    "play",
    "reference_curve",
    "register_check",
]
