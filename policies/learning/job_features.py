"""What the scheduling scorer sees, how it is normalised, and where its search starts: at SJF with EASY backfilling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...traces.errors import HandrailError
from ..network import Feature, FeatureMap, scorer_shapes
from .features import FIRST_HIDDEN_STD, FIRST_STD, ScorerSearch

ESTIMATE = Feature(("estimate_s",), "log1p")
HEAD_DELAY = Feature(("head_delay_s",), "log1p")
IS_WAIT = Feature(("is_wait",))
OVERDUE = Feature(("overdue",))
OVERDUE_PASSES_OVERDUE = Feature(("overdue", "overdue_passed"), "log1p")

FALLBACK_FEATURES = (ESTIMATE, HEAD_DELAY, IS_WAIT, OVERDUE, OVERDUE_PASSES_OVERDUE)

SPARE = 1.0
"""By how much waiting starts below the longest job that was seen, in ``log1p(estimate_s)``: jobs up to e times as long
still come before it."""

LEAST_LONGEST = float(np.log1p(60 * 86_400.0))
"""A job of two months is taken to be possible, even if the sample holds none: one that stood behind waiting would never
start."""

TOLERATED_DELAY = 3.25
"""Largest ``log1p(head_delay_s)``, 25 s, for which a job may start before waiting does (only very short jobs do).

A rule that forbids every delay would need weights so large that a training could hardly move them."""


def fallback_weights(longest: float) -> dict[Feature, float]:
    """The linear rule that the search starts at, before normalisation.

    Of the jobs that do not delay the head's reservation the shortest wins; waiting comes after all of them, and jobs
    that delay the head after that. The overdue job whose turn it is goes first; one that would pass another overdue job
    stays behind.

    Args:
        longest: Largest ``log1p(estimate_s)`` of a job that was seen.
    """
    below = max(longest, LEAST_LONGEST) + SPARE
    return {
        ESTIMATE: -1.0,
        HEAD_DELAY: -below / TOLERATED_DELAY,
        IS_WAIT: -below,
        OVERDUE: below,
        OVERDUE_PASSES_OVERDUE: -3.0 * below,  # its smallest value above 0 is log 2
    }


SCHEDULING_FEATURES = (
    *FALLBACK_FEATURES,
    Feature(("wait_s",), "log1p"),
    Feature(("slowdown",), "log1p"),
    Feature(("size_share",)),
    Feature(("size_share", "estimate_s"), "log1p"),
    Feature(("displaced_slowdown",), "log1p"),
    Feature(("overdue_passed",), "log1p"),
    Feature(("tenant_share",)),
    Feature(("is_wait", "free_share")),
    Feature(("is_wait", "load_6h")),
    Feature(("is_wait", "waiting_jobs"), "log1p"),
    Feature(("is_wait", "head_reservation_s"), "log1p"),
    Feature(("size_share", "free_share")),
    Feature(("size_share", "load_6h")),
    Feature(("head_delay_s", "waiting_jobs"), "log1p"),
)
"""Candidates for inputs; those that never differ between choices on the training traffic are left out, but for those of
``FALLBACK_FEATURES``. A row for waiting has 0 in all of them but ``is_wait`` and its products."""

CONTEXT_FEATURES = (
    Feature(("free_share",)),
    Feature(("load_6h",)),
    Feature(("waiting_hours",), "log1p"),
    Feature(("waiting_jobs",), "log1p"),
    Feature(("head_wait_s",), "log1p"),
    Feature(("head_reservation_s",), "log1p"),
)
"""Global fields. They are the same for every choice, so they are inputs only below hidden layers."""


def job_search(
    layout: Layout,
    observations: Sequence[NDArray[np.float32]],
    hidden: Sequence[int] = (),
    features: Sequence[Feature] = SCHEDULING_FEATURES,
    context: Sequence[Feature] = CONTEXT_FEATURES,
) -> ScorerSearch:
    """Set up the search for a scheduling scorer from observations made under the fallback.

    Features are normalised over the legal choices of all observations, waiting among them, and weights are relative to
    that of ``log1p(estimate_s)``, which starts at -1.

    Raises:
        HandrailError: There is no observation, the fallback's features are not among ``features``, or no legal choices
            ever differ in their estimated run times.
    """
    missing = [feature.label for feature in FALLBACK_FEATURES if feature not in features]
    if missing:
        raise HandrailError(f"the scheduling scorer starts at a rule that needs the feature {missing[0]}")
    inputs = (*features, *(context if hidden else ()))
    rows = _legal_rows(layout, inputs, observations)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    # A deviation at the level of float32 rounding is none.
    usable = std > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    if not usable[inputs.index(ESTIMATE)]:
        raise HandrailError("all jobs had the same estimated run time at every decision; use a longer training window")
    kept = [i for i, feature in enumerate(inputs) if usable[i] or feature in FALLBACK_FEATURES]
    chosen = tuple(inputs[i] for i in kept)
    scale = np.where(usable, std, 1.0)[kept]
    unit = scale[chosen.index(ESTIMATE)]
    longest_s = max(float(layout.replica(observation, "estimate_s").max()) for observation in observations)
    weights = fallback_weights(float(np.log1p(longest_s)))
    linear = np.array([weights.get(f, 0.0) * s / unit for f, s in zip(chosen, scale, strict=True)])
    shapes = scorer_shapes(len(chosen), hidden)
    start = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))
    start[: len(chosen)] = linear
    stds = {name: np.full(shape, FIRST_HIDDEN_STD / np.sqrt(shape[-1])) for name, shape in shapes.items()}
    # A large weight is searched in larger steps: what counts is where it stands among the others.
    stds["linear"] = FIRST_STD * np.maximum(np.abs(linear), 1.0)
    if hidden:
        stds["output"] = np.full(shapes["output"], FIRST_STD)
    first_std = np.concatenate([stds[name].ravel() for name in shapes])
    return ScorerSearch(chosen, tuple(hidden), mean[kept], scale, start, first_std)


def search_from(search: ScorerSearch, tensors: Mapping[str, NDArray[np.floating]]) -> ScorerSearch:
    """The same search, started at a scorer that has been trained: to refine by cross-entropy what PPO found.

    Scores are scaled so that the weight of ``log1p(estimate_s)`` has the size 1 that first deviations are meant for.

    Args:
        search: The search that the scorer was trained with.
        tensors: The scorer's, as ``network.scorer_shapes`` names them.
    """
    unit = float(np.abs(tensors["linear"][search.features.index(ESTIMATE)]))
    scale = {"linear": 1.0 / (unit or 1.0), "output": 1.0 / (unit or 1.0)}
    shapes = scorer_shapes(len(search.features), search.hidden)
    parts = [tensors[name].ravel() * scale.get(name, 1.0) for name in shapes]
    return replace(search, start=np.concatenate(parts).astype(np.float64))


def _legal_rows(
    layout: Layout, features: Sequence[Feature], observations: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Features of all legal choices, shape (choices, n_features)."""
    rows_of = FeatureMap(layout, features)
    rows = [rows_of(observation)[layout.replica(observation, "up") > 0.0] for observation in observations]
    if not sum(len(legal) for legal in rows):
        raise HandrailError("no decision was seen to normalise features by; use a longer training window")
    return np.concatenate(rows)
