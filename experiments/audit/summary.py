"""Precision and recall of interventions from an audited sample, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .auditor import Finding
from .sample import Sample

RESAMPLES = 2000
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Share:
    """An estimated share with a 95 % interval; all None where nothing counts."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


def judge(finding: Finding, margin: float) -> int:
    """1 where the proposal would have done harm, -1 where it would have been better, 0 where neither by ``margin``.

    Args:
        finding: What was found.
        margin: Share of the fallback's cost over the horizon that counts as a difference.
    """
    limit_s = margin * abs(finding.fallback_cost_s)
    return int(finding.harm_s > limit_s) - int(finding.harm_s < -limit_s)


def wilson(successes: int, n: int) -> Share:
    """Wilson's score interval of a share."""
    if n == 0:
        return Share(None, None, None)
    share, z2 = successes / n, Z_95 * Z_95
    centre, spread = share + z2 / (2 * n), Z_95 * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Share(share, max((centre - spread) / (1 + z2 / n), 0.0), min((centre + spread) / (1 + z2 / n), 1.0))


def summarize(sample: Sample, findings: Sequence[Finding], margin: float, seed: int) -> dict[str, Any]:
    """Everything that an audit says, in JSON's types.

    Precision is the share of interventions that kept harm away, among those that made a difference; recall the share
    of harmful proposals that were intervened against. Both weigh each stratum by its size in the run; intervals are
    bootstrapped within strata. Neighbouring decisions are not independent, so they are somewhat too narrow.
    """
    verdicts: list[NDArray[np.int64]] = [
        np.array([judge(f, margin) for f in findings if f.stratum == i], dtype=np.int64)
        for i in range(len(sample.strata))
    ]
    by_reason = []
    for stratum, marks in zip(sample.strata, verdicts, strict=True):
        right, wrong = int((marks > 0).sum()), int((marks < 0).sum())
        by_reason.append(
            {
                "reason": stratum.reason,
                "intervened": stratum.intervened,
                "basis": "choice" if stratum.asked else "rule",
                "decisions": stratum.size,
                "audited": len(marks),
                "harmful": right,
                "neutral": len(marks) - right - wrong,
                "better": wrong,
                "precision": wilson(right, right + wrong).to_json() if stratum.intervened else None,
            }
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    resampled = [[marks[rng.integers(len(marks), size=len(marks))] for marks in verdicts] for _ in range(RESAMPLES)]
    return {
        "decisions": sample.decisions,
        "agreeing": sample.agreeing,
        "contained_faults": sample.unusable,
        "margin": margin,
        "precision": _estimate(_precision, sample, verdicts, resampled).to_json(),
        "recall": _estimate(_recall, sample, verdicts, resampled).to_json(),
        "by_reason": by_reason,
    }


def missed_harms(sample: Sample, findings: Sequence[Finding], margin: float, most: int) -> list[dict[str, Any]]:
    """Executed proposals that did harm, the worst first."""
    missed = [f for f in findings if not sample.strata[f.stratum].intervened and judge(f, margin) > 0]
    missed.sort(key=lambda f: (-f.harm_s, f.decision))
    return [
        {
            "decision": f.decision,
            "now_s": f.now_s,
            "executed": f.proposed,
            "fallback": f.fallback,
            "cost_s": f.proposed_cost_s if np.isfinite(f.proposed_cost_s) else None,
            "fallback_cost_s": f.fallback_cost_s,
        }
        for f in missed[:most]
    ]


def _weighted(sample: Sample, verdicts: Sequence[NDArray[np.int64]], mark: int, intervened: bool) -> float:
    """Decisions of a kind in the run, estimated."""
    return sum(
        stratum.size * float((marks == mark).mean())
        for stratum, marks in zip(sample.strata, verdicts, strict=True)
        if stratum.intervened == intervened and len(marks)
    )


def _precision(sample: Sample, verdicts: Sequence[NDArray[np.int64]]) -> float:
    right, wrong = (_weighted(sample, verdicts, mark, True) for mark in (1, -1))
    return right / (right + wrong) if right + wrong else float("nan")


def _recall(sample: Sample, verdicts: Sequence[NDArray[np.int64]]) -> float:
    caught, missed = (_weighted(sample, verdicts, 1, intervened) for intervened in (True, False))
    return caught / (caught + missed) if caught + missed else float("nan")


def _estimate(statistic: Any, sample: Sample, verdicts: Any, resampled: Any) -> Share:
    value = statistic(sample, verdicts)
    if np.isnan(value):
        return Share(None, None, None)
    each = np.array([statistic(sample, draw) for draw in resampled])
    each = each[~np.isnan(each)]
    low, high = np.quantile(each, (0.025, 0.975))
    return Share(value, float(low), float(high))
