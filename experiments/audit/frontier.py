"""The threshold frontier (M13): how tails and gain trade along a sweep of the guard's margins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...policies.parallel import run_jobs
from ..arms import Arm, ArmResult, run_arm
from ..compare import gain_kept, ratios
from ..guarding import scaled_margins
from .rerun import Rerun

FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors on the margins; 0 leaves the policy what is no worse than the fallback by every estimate."""


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One guard of the sweep.

    Attributes:
        factor: On every margin.
        ratios: Quantiles of each metric over the fallback's.
        gain_kept: Share of the policy's gain that is left; None where it has none.
        availability: Share of the decisions that were the policy's.
    """

    factor: float
    ratios: dict[str, dict[str, float | None]]
    gain_kept: float | None
    availability: float

    def to_json(self) -> dict[str, Any]:
        return {
            "factor": self.factor,
            "ratios": self.ratios,
            "gain_kept": self.gain_kept,
            "availability": self.availability,
        }


def sweep_margins(
    rerun: Rerun,
    factors: Sequence[float] = FACTORS,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[FrontierPoint]:
    """Replay the run with its margins multiplied by each factor.

    It is a look at one run. Thresholds are chosen on validation: sweep a run that was made with ``--split validation``.
    """
    arms = [Arm("fallback", rerun.policy), Arm("unguarded", rerun.policy)]
    arms += [Arm("guarded", rerun.policy, scaled_margins(rerun.guard, factor)) for factor in factors]
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, len(arms))

    results = run_jobs(partial(run_arm, rerun.prepared), arms, workers, one_more)
    fallback, unguarded, *guarded = results
    return [_point(rerun, factor, fallback, unguarded, arm) for factor, arm in zip(factors, guarded, strict=True)]


def _point(rerun: Rerun, factor: float, fallback: ArmResult, unguarded: ArmResult, guarded: ArmResult) -> FrontierPoint:
    report = rerun.prepared.domain.report
    metric, key = report.gain_of[0]
    return FrontierPoint(
        factor,
        ratios(guarded.entry, fallback.entry, report.metrics) or {},
        gain_kept(fallback.entry, unguarded.entry, guarded.entry, metric, key),
        guarded.entry["availability"],
    )
