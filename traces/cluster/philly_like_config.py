"""Parameters of the Philly-like generator. The defaults are what ``calibrate`` makes of the Philly jobs."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

PROFILE_PATH = Path(__file__).parent.parent / "data" / "philly_profile.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunTimes(_Frozen):
    """One lognormal of a mixture."""

    share: Share
    median_s: Positive
    log_sigma: NotNegative


class WorkKind(_Frozen):
    """One sort of work of a tenant. Work comes in campaigns: jobs of one size, close together, that run alike."""

    campaigns_per_day: Positive
    arrival_cv: Positive  # of the gaps between campaigns; below 1 more regular than a Poisson process
    follows_cycle: bool  # people follow the hours of the day, programs do not
    # Jobs a campaign: min_jobs - 1 plus the ceil of a lognormal, at most max_jobs.
    min_jobs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    max_jobs: Annotated[int, Field(ge=1, le=1_000_000)]
    jobs_log_mean: float
    jobs_log_sigma: NotNegative
    # Seconds from one job of a campaign to the next: lognormal.
    gap_median_s: Positive
    gap_log_sigma: NotNegative
    gpus: tuple[tuple[Annotated[int, Field(ge=1, le=10_000)], Positive], ...]  # GPUs a job, drawn once a campaign
    runs: tuple[RunTimes, ...]  # the typical run of a campaign
    repeat_share: Share = 0.0  # campaigns that run like the one of this kind before
    jitter_log_sigma: NotNegative  # spread of run times within a campaign

    @model_validator(mode="after")
    def _consistent(self) -> WorkKind:
        if self.max_jobs < self.min_jobs:
            raise ValueError("max_jobs is below min_jobs")
        if not self.gpus or not self.runs or not sum(run.share for run in self.runs) > 0:
            raise ValueError("gpus and runs need an entry each, with shares above 0")
        return self

    @property
    def mean_jobs(self) -> float:
        """Expected jobs a campaign."""
        most = self.max_jobs - self.min_jobs + 1
        if self.jobs_log_sigma == 0:
            return self.min_jobs - 1 + min(max(math.ceil(math.exp(self.jobs_log_mean)), 1), most)
        scale = self.jobs_log_sigma * math.sqrt(2)
        exceeds = (np.log(np.arange(1, most)) - self.jobs_log_mean) / scale
        return self.min_jobs + sum(0.5 * math.erfc(x) for x in exceeds.tolist())


class Tenant(_Frozen):
    """A virtual cluster and what its users submit."""

    name: Annotated[str, Field(min_length=1)]
    kinds: Annotated[tuple[WorkKind, ...], Field(min_length=1)]


@cache
def _profile() -> dict[str, Any]:
    return json.loads(PROFILE_PATH.read_text("utf-8"))


class PhillyLikeConfig(_Frozen):
    """What the generator draws from; rates are long-run means, so a busy hour has more and a night less."""

    # When
    duration_s: Positive = 21 * 86_400.0
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0
    start_weekday: Annotated[int, Field(ge=0, le=6)] = 0  # 0 is Monday
    # Relative intensity of each hour of the day and of each day of the week, Monday first.
    hour_weights: tuple[NotNegative, ...] = Field(default_factory=lambda: _profile()["hour_weights"])
    weekday_weights: tuple[NotNegative, ...] = Field(default_factory=lambda: _profile()["weekday_weights"])

    # Who and what
    tenants: Annotated[tuple[Tenant, ...], Field(min_length=1)] = Field(default_factory=lambda: _profile()["tenants"])
    rate_factor: Positive = 1.0  # on the campaigns of all tenants
    shortest_run_s: Positive = 1.0
    longest_run_s: Positive = 2_800_000.0  # the longest of the Philly jobs from day 20 on: 2,750,674 s
    max_jobs: Annotated[int, Field(ge=1)] = 20_000_000  # refuse a slip of the pen before it fills the memory

    @model_validator(mode="before")
    @classmethod
    def _validated_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**{name: _profile()[name] for name in ("hour_weights", "weekday_weights", "tenants")}, **values}

    @model_validator(mode="after")
    def _consistent(self) -> PhillyLikeConfig:
        if len(self.hour_weights) != 24 or not sum(self.hour_weights) > 0:
            raise ValueError("hour_weights needs 24 numbers, not all 0")
        if len(self.weekday_weights) != 7 or not sum(self.weekday_weights) > 0:
            raise ValueError("weekday_weights needs 7 numbers, not all 0")
        if len({tenant.name for tenant in self.tenants}) != len(self.tenants):
            raise ValueError("tenants need names of their own")
        if self.longest_run_s < self.shortest_run_s:
            raise ValueError("longest_run_s is below shortest_run_s")
        if self.expected_jobs > self.max_jobs:
            raise ValueError(f"about {self.expected_jobs:,.0f} jobs exceed max_jobs")
        return self

    @property
    def expected_jobs(self) -> float:
        """A rough forecast of how many jobs are drawn."""
        a_day = sum(kind.campaigns_per_day * kind.mean_jobs for tenant in self.tenants for kind in tenant.kinds)
        return a_day * self.rate_factor * self.duration_s / 86_400
