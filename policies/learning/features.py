"""What the routing scorer sees, how it is normalised, and where its search starts: at shortest expected drain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..interface import Policy
from ..network import Feature, FeatureMap, scorer_shapes

FALLBACK_FIELDS = ("drain_s", "prefill_s")
"""Minus their sum is the score that the search starts at: the heuristic ``expected-drain``."""

ROUTING_FEATURES = (
    *(Feature((name,)) for name in FALLBACK_FIELDS),
    *(Feature((name,)) for name in ("ttft_s", "decode_step_s", "inflight", "inflight_prefill_ktokens")),
    *(Feature((name,)) for name in ("waiting_ktokens", "running", "kv_fraction", "prefix_fraction")),
    Feature(("drain_s",), "log1p"),
    Feature(("inflight",), "log1p"),
    Feature(("drain_s", "prompt_ktokens")),
    Feature(("decode_step_s", "prompt_ktokens")),
    Feature(("inflight_prefill_ktokens", "prompt_ktokens")),
)
"""Candidates for inputs; those that do not differ between replicas on the training traffic are left out."""

FIRST_STD = 0.25
"""First deviation of a linear weight, where drain's own weight is -1 and features have spread 1."""

FIRST_HIDDEN_STD = 0.5
"""First deviation of a hidden layer's weights over the square root of its inputs, where features have deviation 1."""


class ObservationSample:
    """A policy that decides as another does and keeps every ``stride``-th observation that it sees."""

    def __init__(self, policy: Policy, stride: int = 1) -> None:
        self._policy = policy
        self._stride = stride
        self._seen = 0
        self.observations: list[NDArray[np.float32]] = []

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The other policy's answer."""
        if self._seen % self._stride == 0:
            self.observations.append(observation.copy())
        self._seen += 1
        return self._policy.predict(observation, state, episode_start, deterministic)


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Statistics of each feature over sampled decisions, all of shape (n_features,).

    Attributes:
        mean: Over decisions and replicas.
        std: Over decisions and replicas.
        spread: Root mean square deviation from the decision's own mean over replicas: how far the feature sets the
            replicas of one decision apart, which is all that a linear score of it can use.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    spread: NDArray[np.float64]


def feature_statistics(
    layout: Layout, features: Sequence[Feature], observations: Sequence[NDArray[np.float32]]
) -> FeatureStatistics:
    """Statistics of ``features`` over ``observations``.

    Raises:
        HandrailError: There is no observation.
    """
    if not observations:
        raise HandrailError("no decision was seen to normalise features by; use a longer training window")
    rows_of = FeatureMap(layout, features)
    rows = np.stack([rows_of(observation) for observation in observations])
    within = rows - rows.mean(axis=1, keepdims=True)
    return FeatureStatistics(
        mean=rows.mean(axis=(0, 1)),
        std=rows.std(axis=(0, 1)),
        spread=np.sqrt((within**2).mean(axis=(0, 1))),
    )


@dataclass(frozen=True, slots=True)
class ScorerSearch:
    """A replica scorer to be searched: its inputs and normalisation, and where the search starts.

    Attributes:
        features: Inputs that set replicas apart on the training traffic.
        hidden: Sizes of hidden layers.
        mean: Normalisation, shape (n_features,).
        std: Normalisation, shape (n_features,): each feature's spread.
        start: First parameter vector: the scores of ``expected-drain``.
        first_std: First deviation of each parameter.
    """

    features: tuple[Feature, ...]
    hidden: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    start: NDArray[np.float64]
    first_std: NDArray[np.float64]


def scorer_search(
    layout: Layout,
    observations: Sequence[NDArray[np.float32]],
    hidden: Sequence[int] = (),
    features: Sequence[Feature] = ROUTING_FEATURES,
) -> ScorerSearch:
    """Set up the search for a routing scorer from observations made under the fallback.

    Raises:
        HandrailError: There is no observation, or drain does not differ between replicas in any.
    """
    statistics = feature_statistics(layout, features, observations)
    # A spread at the level of float32 rounding is none.
    usable = statistics.spread > 1e-6 * np.maximum(np.abs(statistics.mean), 1e-6)
    if not usable[list(features).index(Feature(("drain_s",)))]:
        raise HandrailError("all replicas had the same expected drain at every decision; use a busier training window")
    # A fleet of equal replicas has equal prefill times for a request; it stays, with another scale, for fleets to come.
    kept = [i for i, f in enumerate(features) if usable[i] or f.fields == ("prefill_s",)]
    chosen = tuple(features[i] for i in kept)
    spread = np.where(usable, statistics.spread, np.maximum(statistics.std, 1e-3))[kept]
    drain_scale = spread[chosen.index(Feature(("drain_s",)))]
    linear = np.array(
        [-s / drain_scale if f in _fallback_features() else 0.0 for f, s in zip(chosen, spread, strict=True)]
    )
    shapes = scorer_shapes(len(chosen), hidden)
    start = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))
    start[: len(chosen)] = linear
    stds = {name: np.full(shape, FIRST_HIDDEN_STD / np.sqrt(shape[-1])) for name, shape in shapes.items()}
    stds["linear"] = np.full(len(chosen), FIRST_STD)
    if hidden:
        # Inputs have spread 1 between replicas but may swing further in time, which would saturate the first layer.
        swing = np.maximum(statistics.std[kept] / spread, 1.0)
        stds["hidden.0.weight"] = stds["hidden.0.weight"] / swing
        stds["output"] = np.full(shapes["output"], FIRST_STD)
    first_std = np.concatenate([stds[name].ravel() for name in shapes])
    return ScorerSearch(chosen, tuple(hidden), statistics.mean[kept], spread, start, first_std)


def _fallback_features() -> tuple[Feature, ...]:
    return tuple(Feature((name,)) for name in FALLBACK_FIELDS)
