"""Config of the outcome breaker: the fallback's own share of violations by load, and how far above it is too far."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from .base import CheckModel


class BreakerConfig(CheckModel):
    """Config of :class:`~handrail.policies.guards.checks.breaker.OutcomeBreaker`.

    Attributes:
        load_field: Global observation field with the arrival rate, a second, or with a load.
        capacity_per_s: Value of it that counts as load 1.
        loads: Loads at which the fallback's share of violations is given, rising.
        shares: That share at each load, never falling; linear between, level beyond the ends.
        window_outcomes: How many of the latest outcomes are judged.
        min_outcomes: Fewest outcomes on which it may trip.
        margin_share: Allowed excess over the reference share.
        z: One-sided normal quantile of the bound (3 is 0.13 % an independent look).
        design_effect: Factor on the binomial variance for outcomes that come in clusters (1: independent).
    """

    check: Literal["breaker"] = "breaker"
    load_field: str
    capacity_per_s: float = Field(gt=0)
    loads: tuple[float, ...] = Field(min_length=1)
    shares: tuple[float, ...] = Field(min_length=1)
    window_outcomes: int = Field(default=200, ge=1)
    min_outcomes: int = Field(default=20, ge=1)
    margin_share: float = Field(default=0.05, ge=0, le=1)
    z: float = Field(default=3.0, ge=0)
    design_effect: float = Field(default=4.0, ge=1)

    @model_validator(mode="after")
    def _curve_is_monotone(self) -> Self:
        if len(self.loads) != len(self.shares):
            raise ValueError(f"loads and shares must pair up: {len(self.loads)} against {len(self.shares)}")
        if any(b <= a for a, b in pairwise(self.loads)):
            raise ValueError("loads must rise strictly")
        if any(b < a for a, b in pairwise(self.shares)) or self.shares[0] < 0 or self.shares[-1] > 1:
            raise ValueError("shares must lie in [0, 1] and never fall")
        if self.min_outcomes > self.window_outcomes:
            raise ValueError("min_outcomes must not exceed window_outcomes")
        return self

    def reference_share(self, load: float) -> float:
        """The fallback's share of violations at ``load``, by linear interpolation."""
        i = bisect_right(self.loads, load)
        if i == 0:
            return self.shares[0]
        if i == len(self.loads):
            return self.shares[-1]
        part = (load - self.loads[i - 1]) / (self.loads[i] - self.loads[i - 1])
        return self.shares[i - 1] + part * (self.shares[i] - self.shares[i - 1])
