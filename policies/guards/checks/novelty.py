"""Novelty: where the observation is unlike those of calibration, the policy is not asked."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ....traces.errors import HandrailError
from ..context import CheckContext
from ..novelty_model import FeatureReader, NoveltyModel
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage
from .rolling import Rolling


class NoveltyConfig(CheckModel):
    """Config of :class:`NoveltyCheck`.

    Attributes:
        global_fields: Global fields that are looked at. Fields that only ever grow have no place here.
        replica_fields: Per-replica fields that are looked at, by their mean and their largest value.
        alpha: Share of ordinary decisions that may be beyond the distance's threshold.
        box_margin: How far beyond the range of calibration a feature may be, as a share of the range's width.
        window_decisions: Over how many of the latest decisions the rule to trip looks.
        trip_decisions: So many novel ones among them take the rule away.
        model: The numbers, made by calibration; None before.
    """

    check: Literal["novelty"] = "novelty"
    global_fields: tuple[str, ...] = ()
    replica_fields: tuple[str, ...] = ()
    alpha: float = Field(default=0.01, gt=0, lt=1)
    box_margin: float = Field(default=0.1, ge=0)
    window_decisions: int = Field(default=100, ge=1)
    trip_decisions: int = Field(default=50, ge=1)
    model: NoveltyModel | None = None

    @model_validator(mode="after")
    def _the_parts_fit(self) -> Self:
        if self.trip_decisions > self.window_decisions:
            raise ValueError("trip_decisions must not exceed window_decisions")
        features = len(self.global_fields) + 2 * len(self.replica_fields)
        if self.model is not None and len(self.model.mean) != features:
            raise ValueError(f"model is of {len(self.model.mean)} features, but the fields give {features}")
        return self


class NoveltyCheck:
    """Leaves the policy unasked where the observation is novel, and trips where novelty lasts.

    Novel is a feature outside the box of calibration (with a margin), or a Mahalanobis distance from its mean above the
    conformal threshold; what is no number is novel. The guarantee is marginal and for observations that are
    exchangeable with those of calibration: neighbouring decisions are alike, so false alarms come in runs.

    Reason codes: ``outside-seen-box``, ``unlike-seen-data``.
    """

    name = "novelty"
    stage: Stage = "outcomes"
    cost_us = 9.0
    fault = False

    def __init__(self, config: NoveltyConfig, layout: Layout) -> None:
        if config.model is None:
            raise HandrailError("novelty has no model yet; calibrate the guard, or remove the check")
        self._read = FeatureReader(layout, config.global_fields, config.replica_fields)
        low, high = np.array(config.model.low), np.array(config.model.high)
        reach = config.box_margin * (high - low) + 1e-6
        self._low, self._high = low - reach, high + reach
        self._whitening = np.array(config.model.whitening)
        self._offset = self._whitening @ np.array(config.model.mean)
        self._threshold = config.model.threshold
        self._trip_decisions = config.trip_decisions
        self._window = Rolling(config.window_decisions)
        self._accept = accepted_by(self.name)

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the observation, whoever rules. To be called at every decision."""
        features = self._read(context.observation)
        inside = (features >= self._low) & (features <= self._high)  # false for what is no number
        if inside.all():
            whitened = self._whitening.dot(features)
            whitened -= self._offset
            distance = math.sqrt(whitened.dot(whitened))
            if distance <= self._threshold:
                self._window.push(0.0)
                return self._accept
            reason, evidence = "unlike-seen-data", (("distance", distance), ("threshold", self._threshold))
        else:
            at = int(inside.argmin())
            reason, evidence = "outside-seen-box", (("feature", float(at)), ("value", float(features[at])))
        self._window.push(1.0)
        kind = "trip" if self._window.total >= self._trip_decisions else "veto"
        return Verdict(kind, self.name, reason, evidence)
