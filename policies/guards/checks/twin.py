"""The digital twin: the proposal and the fallback's choice, played forward in forks of the live simulator."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..forecast import Forecast
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class TwinConfig(CheckModel):
    """Config of :class:`TwinCheck`.

    Attributes:
        horizon_s: How far the two are played forward, in simulated seconds.
        futures: Over how many futures, the same for both.
        absolute_margin: Mean cost over the horizon that the proposal may add, in the domain's own unit of cost.
        relative_margin: The same as a share of the fallback's mean cost.
        z: Standard errors (paired over futures) by which the excess must be beyond the margin.
        every: Only every so many-th proposal that differs from the fallback's choice is played; the others get the
            verdict of the last one that was.
        min_gap_s: Least simulated time between two that are played.
        follow_s: For so long the policy goes on deciding after its proposal before the fallback takes over, in
            simulated seconds; 0 for the proposal alone. As long as ``min_gap_s`` it is what an accepted proposal lets
            through.
        latency_factor: Factor on the twin's latency model; other than 1 to see what a wrong model does.
    """

    check: Literal["twin"] = "twin"
    horizon_s: float = Field(default=10.0, gt=0)
    futures: int = Field(default=4, ge=1)
    absolute_margin: float = Field(default=0.0, ge=0)
    relative_margin: float = Field(default=0.02, ge=0)
    z: float = Field(default=1.0, ge=0)
    every: int = Field(default=1, ge=1)
    min_gap_s: float = Field(default=0.0, ge=0)
    follow_s: float = Field(default=0.0, ge=0)
    latency_factor: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _the_horizon_holds_it(self) -> Self:
        if self.follow_s > self.horizon_s:
            raise ValueError(f"follow_s ({self.follow_s:g}) is beyond horizon_s ({self.horizon_s:g})")
        return self


class TwinCheck:
    """Vetoes a proposal whose forecast cost is above the fallback's by more than the margin.

    With d the difference of the two costs in each of n futures, its mean m and standard error s = sd(d) / sqrt(n), and
    f the fallback's mean cost: veto where ``m - z s > absolute + relative f``. After either action the fallback
    decides, so what is compared is one decision; with ``follow_s`` the policy goes on deciding after its proposal, so
    what is compared is its rule for a while against none. Proposals equal to the fallback's choice pass unplayed.
    Those that ``every`` and ``min_gap_s`` leave out pass or not as the last one did that was played: a sample of a bad
    policy's proposals would else hold off no more than that sample. Margins are of one decision: a share of the cost
    over a horizon with hundreds of decisions is more than most of them can do.

    Reason codes: ``twin-cost-over-margin``, ``twin-cost-not-finite``, ``twin-veto-stands`` (not played),
    ``forecast-missing`` (nobody bound a simulator).
    """

    name = "twin"
    stage: Stage = "proposal"
    cost_us = 200_000.0
    fault = False
    needs_forecast = True

    def __init__(self, config: TwinConfig, layout: Layout) -> None:
        self._config = config
        self.latency_factor = config.latency_factor
        self.follows = config.follow_s > 0.0
        self._accept = accepted_by(self.name)
        self._stands = self._accept
        self._differing = 0
        self._next_s = -math.inf

    def judge(self, context: CheckContext) -> Verdict:
        """Play the two forward, if they differ and it is time to."""
        if context.action == context.fallback_action:
            return self._accept
        if context.forecast is None:
            return Verdict("veto", self.name, "forecast-missing")
        due = self._differing % self._config.every == 0 and context.now_s >= self._next_s
        self._differing += 1
        if not due:
            return self._stands
        self._next_s = context.now_s + self._config.min_gap_s
        verdict = self._played(context, context.forecast)
        self._stands = self._accept if verdict.kind == "accept" else Verdict("veto", self.name, "twin-veto-stands")
        return verdict

    def _played(self, context: CheckContext, forecast: Forecast) -> Verdict:
        config = self._config
        if self.follows:
            (fallback,) = forecast.costs((context.fallback_action,), config.horizon_s, config.futures)
            proposed = forecast.costs_of_following(context.action, config.horizon_s, config.futures, config.follow_s)
        else:
            actions = (context.action, context.fallback_action)
            proposed, fallback = forecast.costs(actions, config.horizon_s, config.futures)
        excess = proposed - fallback
        if not np.isfinite(excess).all():
            return Verdict("veto", self.name, "twin-cost-not-finite")
        mean = float(excess.mean())
        error = float(excess.std(ddof=1)) / math.sqrt(config.futures) if config.futures > 1 else 0.0
        base = float(fallback.mean())
        limit = config.absolute_margin + config.relative_margin * abs(base)
        if mean - config.z * error <= limit:
            return self._accept
        evidence = (("excess", mean), ("standard_error", error), ("fallback_cost", base), ("limit", limit))
        return Verdict("veto", self.name, "twin-cost-over-margin", evidence)
