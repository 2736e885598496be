"""What the prefetch scorer sees, how it is normalised, and where its search starts: at coverage less weighted waste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..network import Feature, scorer_shapes
from .features import FIRST_HIDDEN_STD, FIRST_STD, ScorerSearch, feature_statistics

COVERAGE = Feature(("coverage",))
BUSY_WASTE = Feature(("waste", "utilisation_slow"))

START_WEIGHTS: Mapping[Feature, float] = {COVERAGE: 1.0, BUSY_WASTE: -1.0}
"""The linear rule that a training starts at, before normalisation: the heuristic ``accuracy``.

A foreseen access saves a miss; a fetch that nobody uses costs the more, the busier the tier is."""

PREFETCH_FEATURES = (
    *START_WEIGHTS,
    Feature(("is_off",)),
    Feature(("standing",)),
    Feature(("coverage_64",)),
    Feature(("accuracy",)),
    Feature(("waste",)),
    Feature(("issue_rate",), "log1p"),
    Feature(("issue_rate_64",), "log1p"),
    Feature(("degree",), "log1p"),
    Feature(("lead",)),
    Feature(("coverage", "utilisation_slow")),
    Feature(("coverage", "queueing_delay"), "log1p"),
    Feature(("coverage", "hit_ratio")),
    Feature(("coverage", "lateness")),
    Feature(("coverage", "new_512")),
    Feature(("coverage", "stride_confidence_64")),
    Feature(("coverage_64", "hit_ratio")),
    Feature(("coverage_64", "utilisation_slow")),
    Feature(("waste", "queueing_delay"), "log1p"),
    Feature(("waste", "hit_ratio")),
    Feature(("waste", "demand_share")),
    Feature(("waste", "polluted_share")),
    Feature(("issue_rate", "utilisation_slow"), "log1p"),
    Feature(("issue_rate_64", "queueing_delay"), "log1p"),
    Feature(("issue_rate", "tenant_share"), "log1p"),
    Feature(("accuracy", "utilisation_slow")),
    Feature(("lead", "lateness")),
    Feature(("lead", "coverage")),
    Feature(("degree", "lateness"), "log1p"),
    Feature(("degree", "sequential_512"), "log1p"),
    Feature(("is_off", "utilisation_slow")),
    Feature(("is_off", "queueing_delay"), "log1p"),
    Feature(("is_off", "hit_ratio")),
)
"""Candidates for inputs; those that never differ between arms in the sample are left out, but for the start's.

What says what the policy itself did last (``current``, ``live_accuracy``) is none of them: a
policy that explores while it is trained may learn to stay where it is, and taken greedily it then never leaves the arm
that it begins with."""

CONTEXT_FEATURES = (
    Feature(("tenant_share",)),
    Feature(("hit_ratio",)),
    Feature(("access_cost",), "log1p"),
    Feature(("utilisation_slow",)),
    Feature(("queueing_delay",), "log1p"),
    Feature(("demand_share",)),
    Feature(("live_accuracy",)),
    Feature(("lateness",)),
    Feature(("polluted_share",)),
    Feature(("delta_entropy_64",)),
    Feature(("stride_confidence_64",)),
    Feature(("sequential_512",)),
    Feature(("new_512",)),
)
"""Global fields. They are the same for every arm, so they are inputs only below hidden layers."""


LEAST_STD = 0.02
"""Features are divided by this at least: one that hardly varied in the sample may do so later."""


def arm_search(
    layout: Layout,
    observations: Sequence[NDArray[np.float32]],
    hidden: Sequence[int] = (),
    features: Sequence[Feature] = PREFETCH_FEATURES,
    context: Sequence[Feature] = CONTEXT_FEATURES,
) -> ScorerSearch:
    """Set up the search for a prefetch scorer from observations, some of them best of a policy that prefetches.

    Shadows count for every arm alike, but hits and lateness are seen only where there are any. Weights are relative to
    that of the coverage, which starts at 1.

    Raises:
        HandrailError: There is no observation, the start's features are not among ``features``, or no arm's coverage
            ever differs from another's.
    """
    missing = [feature.label for feature in START_WEIGHTS if feature not in features]
    if missing:
        raise HandrailError(f"the prefetch scorer starts at a rule that needs the feature {missing[0]}")
    inputs = (*features, *(context if hidden else ()))
    statistics = feature_statistics(layout, inputs, observations)
    # A spread at the level of float32 rounding is none.
    floor = 1e-6 * np.maximum(np.abs(statistics.mean), 1e-6)
    usable = np.where([f in context for f in inputs], statistics.std, statistics.spread) > floor
    if not usable[inputs.index(COVERAGE)]:
        raise HandrailError("no arm ever foresaw more than another; train on a longer trace, or with a wider menu")
    kept = [i for i, feature in enumerate(inputs) if usable[i] or feature in START_WEIGHTS]
    chosen = tuple(inputs[i] for i in kept)
    scale = np.where(usable, np.maximum(statistics.std, LEAST_STD), 1.0)[kept]
    unit = scale[chosen.index(COVERAGE)]
    linear = np.array([START_WEIGHTS.get(f, 0.0) * s / unit for f, s in zip(chosen, scale, strict=True)])
    shapes = scorer_shapes(len(chosen), hidden)
    start = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))
    start[: len(chosen)] = linear
    stds = {name: np.full(shape, FIRST_HIDDEN_STD / np.sqrt(shape[-1])) for name, shape in shapes.items()}
    # A large weight is searched in larger steps; one of the context is the same for every arm and moves nothing.
    stds["linear"] = FIRST_STD * np.maximum(np.abs(linear), 1.0) * np.array([f not in context for f in chosen])
    if hidden:
        stds["output"] = np.full(shapes["output"], FIRST_STD)
    first_std = np.concatenate([stds[name].ravel() for name in shapes])
    return ScorerSearch(chosen, tuple(hidden), statistics.mean[kept], scale, start, first_std)
