"""How bad every stress is, in one place, fixed before any policy is trained or any guard is tuned."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Severities(BaseModel):
    """All severities; frozen, unknown keys refused. Shares of the window are of the whole replayed window."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Shifts
    load_factors: tuple[float, ...] = Field(
        default=(1.5, 2.0, 3.0), description="factors that the study uses; any is allowed"
    )
    flash_crowd_factor: float = Field(default=5.0, gt=1, description="arrival rate over the usual one")
    flash_crowd_share: float = Field(default=0.03, gt=0, le=1, description="length, as a share of the window")
    drift_factor: float = Field(
        default=1.6, gt=1, description="arrival rate at the end of a slow drift over the usual one"
    )
    prompt_factor: float = Field(default=4.0, gt=0, description="length mix of requests: prompts, conversation to code")
    output_factor: float = Field(default=0.25, gt=0, description="length mix of requests: outputs")
    longest_prompt_tokens: int = Field(default=32_000, ge=1, description="no prompt is stretched beyond this")
    run_factor: float = Field(default=3.0, gt=1, description="length mix of jobs: run times; 1 job in so many stays")
    size_factor: float = Field(default=2.0, gt=0, description="length mix of accesses: object sizes")
    scan_share: float = Field(
        default=0.25, ge=0, le=1, description="length mix of accesses: share that becomes one long scan"
    )
    newcomer_share: float = Field(default=0.3, gt=0, description="rate of the new tenant over that of the others")
    burst_share: float = Field(
        default=0.2, gt=0, le=1, description="phase change of requests: each period's arrivals in this"
    )
    burst_period_s: float = Field(default=30.0, gt=0, description="phase change of requests: length of a period [s]")
    wide_share: float = Field(
        default=0.5, gt=0, le=1, description="phase change of jobs: share that becomes wide and short"
    )
    wide_quantile: float = Field(
        default=0.75, ge=0, lt=1, description="phase change of jobs: sizes above this are wide"
    )

    # Faults of the system
    down_share: float = Field(
        default=0.25, gt=0, lt=1, description="machines (processors) that crash, straggle or start cold"
    )
    straggler_factor: float = Field(default=4.0, gt=1, description="how much slower a straggler is")
    cold_down_share: float = Field(default=0.1, ge=0, lt=1, description="cold start: down for this share of its time")
    cold_slow_share: float = Field(
        default=0.3, gt=0, le=1, description="cold start: then slow for this share of its time"
    )
    cold_factor: float = Field(default=3.0, gt=1, description="cold start: how much slower")
    tier_factor: float = Field(default=4.0, gt=1, description="backing tier: its bandwidth is divided by this")
    kv_kept: float = Field(
        default=0.3, gt=0, lt=1, description="KV capacity cut: share of the blocks kept, on all replicas"
    )

    # Faults of sensors
    stale_share: float = Field(default=0.01, gt=0, lt=1, description="age of stale reports, as a share of the window")
    lag_speed: float = Field(default=0.5, gt=0, lt=1, description="lagging: simulated seconds of reports a second")
    missing_hold_share: float = Field(
        default=0.01, ge=0, lt=1, description="missing: last value kept for this share of it"
    )
    noise_sigma: float = Field(default=0.5, gt=0, description="noisy: deviation of the logarithm of the factor")
    outcome_lag_share: float = Field(
        default=0.05, gt=0, lt=1, description="outcomes lagging: by this share of the window"
    )

    # Faults of policies
    flap_decisions: int = Field(default=8, ge=1, description="flapping: decisions between two changes of mind")


SEVERITIES = Severities()
"""The severities that everything here uses unless told otherwise."""
