"""Observations of validation runs, kept within bounds, and what novelty and plausibility take from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from ..interface import Feedback, Policy
from .checks import NoveltyConfig, PlausibilityConfig
from .checks.positions import positions
from .novelty_model import FeatureReader, fit_novelty_model

CAPACITY = 4096
"""Observations that a run keeps at most."""


@dataclass(frozen=True, slots=True)
class ObservedSample:
    """What was observed in one run.

    Attributes:
        rows: A uniform sample of the observations, shape (n, layout.size), float32.
        low, high: Smallest and largest value at each position over all of them, shape (layout.size,).
    """

    rows: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


class NoveltyCalibrator:
    """A policy that decides as another one does and keeps a sample of what it observes.

    Run it in the fallback's place (or the policy's) over validation windows, one object a window; then give all the
    samples to :func:`fit_novelty` and :func:`fit_ranges`. Memory is bounded: a reservoir (Vitter's algorithm R).
    """

    def __init__(self, policy: Policy, layout: Layout, *, capacity: int = CAPACITY, seed: int = 0) -> None:
        self.name = getattr(policy, "name", type(policy).__name__)
        self._policy = policy
        self._rows = np.empty((capacity, layout.size), dtype=np.float32)
        self._seen = 0
        self._low = np.full(layout.size, np.inf, dtype=np.float32)
        self._high = np.full(layout.size, -np.inf, dtype=np.float32)
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    @property
    def latency_s(self) -> float:
        """The policy's decision latency, in simulated seconds."""
        return getattr(self._policy, "latency_s", 0.0)

    def sample(self) -> ObservedSample:
        """What was observed so far."""
        return ObservedSample(
            self._rows[: min(self._seen, len(self._rows))].copy(), self._low.copy(), self._high.copy()
        )

    def notify(self, feedback: Feedback) -> None:
        """Pass the feedback on."""
        notify = getattr(self._policy, "notify", None)
        if notify is not None:
            notify(feedback)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Keep the observation by chance, and decide as the policy does."""
        at = self._seen if self._seen < len(self._rows) else int(self._rng.integers(self._seen + 1))
        if at < len(self._rows):
            self._rows[at] = observation
        self._seen += 1
        np.minimum(self._low, observation, out=self._low)
        np.maximum(self._high, observation, out=self._high)
        return self._policy.predict(observation, state, episode_start, deterministic)


def fit_novelty(
    config: NoveltyConfig, layout: Layout, samples: Sequence[ObservedSample], seed: int = 0
) -> NoveltyConfig:
    """``config`` with its model fitted on the observations of validation runs.

    Raises:
        HandrailError: A field is unknown, or there are too few observations for the config's ``alpha``.
    """
    read = FeatureReader(layout, config.global_fields, config.replica_fields)
    features = [read(row) for sample in samples for row in sample.rows]
    if not features:
        raise HandrailError("novelty cannot be calibrated: nothing was observed; give a longer trace")
    return config.model_copy(update={"model": fit_novelty_model(np.array(features), config.alpha, seed)})


def fit_ranges(config: PlausibilityConfig, layout: Layout, samples: Sequence[ObservedSample]) -> PlausibilityConfig:
    """``config`` with the range of its ``range_fields`` as seen in validation runs.

    Raises:
        HandrailError: A field is unknown, or nothing was observed.
    """
    if not config.range_fields:
        return config
    samples = [sample for sample in samples if len(sample.rows)]
    if not samples:
        raise HandrailError("ranges cannot be calibrated: nothing was observed; give a longer trace")
    places = [positions(layout, [field]) for field in config.range_fields]
    low = [min(float(sample.low[at].min()) for sample in samples) for at in places]
    high = [max(float(sample.high[at].max()) for sample in samples) for at in places]
    return config.model_copy(update={"range_low": tuple(low), "range_high": tuple(high)})
