"""A guard declared: which checks with which thresholds, and how the supervisor behaves."""

from __future__ import annotations

import json
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from .checks import (
    BUILDERS,
    BreakerConfig,
    BudgetConfig,
    ContractConfig,
    CostMarginConfig,
    GateConfig,
    IdlingConfig,
    ReservationConfig,
    StarvationConfig,
)
from .checks.base import GuardModel
from .guard import Guard
from .supervisor import SupervisorConfig

CheckConfig = Annotated[
    ContractConfig
    | CostMarginConfig
    | BreakerConfig
    | StarvationConfig
    | ReservationConfig
    | IdlingConfig
    | GateConfig
    | BudgetConfig,
    Field(discriminator="check"),
]

SCHEDULING_SUPERVISOR = SupervisorConfig(
    min_dwell_s=1800.0,
    max_dwell_s=43_200.0,
    healthy_reset_s=86_400.0,
    probe_decisions=64,
    probe_outcomes=20,
    probe_timeout_s=21_600.0,
    veto_window_decisions=200,
)
"""Cluster jobs take minutes to days where requests take seconds, and waits have no outcome: more time, more probes."""

PREFETCH_SUPERVISOR = SupervisorConfig(probe_decisions=128, veto_share_limit=0.8)
"""A tenant that pauses gives no outcome, so more probes; and what a veto leaves is the fallback's arm, so it does no
harm to veto often a policy that is right for some tenants alone."""


class GuardConfig(GuardModel):
    """A guard as data.

    Attributes:
        checks: The checks' configs; a check that is not listed is off. Their order does not matter.
        supervisor: Times and counts of the supervisor.
    """

    checks: tuple[CheckConfig, ...] = (ContractConfig(),)
    supervisor: SupervisorConfig = SupervisorConfig()

    @model_validator(mode="after")
    def _probes_can_be_judged(self) -> Self:
        needed = max((c.min_outcomes for c in self.checks if isinstance(c, BreakerConfig)), default=0)
        if self.supervisor.probe_outcomes < needed:
            raise ValueError(
                f"supervisor.probe_outcomes ({self.supervisor.probe_outcomes}) must be at least the breaker's "
                f"min_outcomes ({needed}), else probes pass unjudged"
            )
        return self

    @classmethod
    def for_routing(
        cls,
        *,
        capacity_per_s: float = 1.0,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
    ) -> Self:
        """The default guard for request routing.

        The cost margins hold three things that a router can spoil: the expected time to first token of this request,
        the backlog that it joins (what its end and those behind it wait for) and the decode step that it slows (the
        gaps between tokens).

        Args:
            capacity_per_s: Arrival rate that is load 1, a second.
            loads: Loads at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
        """
        return cls(
            checks=(
                ContractConfig(),
                CostMarginConfig(field="ttft_s", absolute_margin=0.02, relative_margin=0.1),
                CostMarginConfig(field="drain_s", absolute_margin=1.0, relative_margin=0.1),
                CostMarginConfig(field="decode_step_s", absolute_margin=0.01, relative_margin=0.25),
                BreakerConfig(load_field="rate_60s", capacity_per_s=capacity_per_s, loads=loads, shares=shares),
            )
        )

    @classmethod
    def for_scheduling(
        cls,
        *,
        overdue_passes: int = 500,
        reservation_margin_s: float = 120.0,
        slowdown_margin: float = 0.5,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
    ) -> Self:
        """The default guard for cluster scheduling.

        Args:
            overdue_passes: As in the cluster's config.
            reservation_margin_s: How far the head's reservation may slip through a backfilled job, in seconds.
            slowdown_margin: Expected bounded slowdown that a choice may cost the jobs that stand before it, above what
                the fallback's choice costs them.
            loads: Loads (``load_6h``) at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
        """
        return cls(
            checks=(
                ContractConfig(latency_budget_s=1.0),
                IdlingConfig(),
                StarvationConfig(overdue_passes=overdue_passes),
                ReservationConfig(margin_s=reservation_margin_s),
                CostMarginConfig(field="displaced_slowdown", absolute_margin=slowdown_margin, relative_margin=0.1),
                BreakerConfig(load_field="load_6h", capacity_per_s=1.0, loads=loads, shares=shares),
            ),
            supervisor=SCHEDULING_SUPERVISOR,
        )

    @classmethod
    def for_prefetch(
        cls,
        *,
        waste_margin: float = 0.05,
        degree_margin: float = 4.0,
        excess_share: float = 0.05,
        budget_caches: float = 1.5,
        discount: float = 1.0,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
    ) -> Self:
        """The default guard for cache prefetching. The budget needs a shadow cache (``ghost`` in the cache's config).

        Args:
            waste_margin: Fetches an access that nobody uses, as the shadow has it, beyond those of the fallback's arm.
            degree_margin: Degree beyond that of the fallback's arm. Fetches that are all used add no work, but those of
                one access stand together before whoever misses next.
            excess_share: Misses beyond the shadow cache's, as a share of these.
            budget_caches: Misses beyond that, in units of the cache's capacity in objects.
            discount: Factor on past counts of the budget at each decision.
            loads: Loads (``utilisation_slow``) at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
        """
        return cls(
            checks=(
                ContractConfig(),
                GateConfig(),
                CostMarginConfig(field="waste", absolute_margin=waste_margin, relative_margin=0.1),
                CostMarginConfig(field="degree", absolute_margin=degree_margin),
                BudgetConfig(excess_share=excess_share, budget_caches=budget_caches, discount=discount),
                BreakerConfig(load_field="utilisation_slow", capacity_per_s=1.0, loads=loads, shares=shares),
            ),
            supervisor=PREFETCH_SUPERVISOR,
        )

    @classmethod
    def from_json(cls, text: str, source: str = "guard config") -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: A JSON object.
            source: What to call it in an error, such as the file's name.

        Raises:
            HandrailError: It is no JSON, or has an unknown, missing or bad field.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "top level"
            raise HandrailError(f"{source}: {where}: {first['msg']}; mend or remove that field") from None

    def to_json(self) -> str:
        """The config as a JSON object with sorted keys, the same text for equal configs."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"

    def only(self, *checks: str) -> Self:
        """This guard with the checks of the given kinds alone (``contract``, ``cost-margin``, ``breaker`` ...)."""
        return self.model_copy(update={"checks": tuple(c for c in self.checks if c.check in checks)})


def build_guard(config: GuardConfig, layout: Layout) -> Guard:
    """A fresh guard, for one run.

    Raises:
        HandrailError: A check names a field that the layout does not have, or two checks are the same.
    """
    budgets_s = [check.latency_budget_s for check in config.checks if isinstance(check, ContractConfig)]
    return Guard(
        [BUILDERS[type(check)](check, layout) for check in config.checks],
        config.supervisor,
        latency_budget_s=min(budgets_s, default=None),
    )
