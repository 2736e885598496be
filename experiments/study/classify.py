"""Light, loaded or saturated: from the fallback's runs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

Load = Literal["light", "loaded", "saturated"]

LIGHT_SHARE = 0.05
"""A p99 wait below this share of the objective is no load."""

SATURATED_ATTAINMENT = 0.5
"""Share of items that attain the objective, below which the fallback has failed."""

BACKLOG_GROWTH = 1.5
"""Over the last third the backlog grows where its later half has so many times the items of the earlier half and of
the two thirds before."""

LEAST_BACKLOG = 10.0
"""A mean backlog below this is too small to be said to grow."""


def classify(runs: Sequence[Mapping[str, Any]]) -> Load:
    """The class of a setting from the facts of the fallback's runs, one a replicate.

    The p99 wait is the largest of the replicates' (a lost item waits for ever); the attainment is that of all measured
    items; the backlog must grow in more than half of the replicates.
    """
    measured = sum(run["measured"] for run in runs)
    attained = sum(run["measured"] * run["slo_attainment"] for run in runs)
    growing = sum(backlog_grows(run["backlog"]) for run in runs)
    if attained < SATURATED_ATTAINMENT * measured or 2 * growing > len(runs):
        return "saturated"
    waits = [run["wait_s"]["p99"] for run in runs]
    limit_s = float(runs[0]["wait_limit_s"])
    light = all(wait is not None and wait < LIGHT_SHARE * limit_s for wait in waits)
    return "light" if light else "loaded"


def backlog_grows(counts: Sequence[int]) -> bool:
    """Whether the items in the system grow over the last third of equally spaced moments."""
    values = np.asarray(counts, dtype=np.float64)
    third = len(values) // 3
    if third < 2:
        return False
    last = values[-third:]
    early, late = float(last[: third // 2].mean()), float(last[third // 2 :].mean())
    before = float(values[:-third].mean())
    return late >= LEAST_BACKLOG and late > BACKLOG_GROWTH * early and late > BACKLOG_GROWTH * before
