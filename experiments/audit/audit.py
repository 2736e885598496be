"""A counterfactual audit of one guarded run (M5): was each intervention right, and which harm was let through?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...envs.common import Layout
from ...policies.guards import GuardedPolicy, build_guard
from ...traces.errors import HandrailError
from ..replay import replay
from .auditor import Auditor, Finding
from .rerun import Rerun
from .sample import Sample, draw_sample
from .summary import missed_harms, summarize

HORIZON_ITEMS = {"llm": 50, "cluster": 50, "prefetch": 1000}
"""How many arrivals, at the run's mean rate, a choice is played onward. Over longer times any change, good or bad, sets
off others, and what one choice did drowns in them."""

RULE_HORIZONS = 4.0
"""How much longer is played onward where it is asked who should go on ruling."""

MOST_MISSED = 20
"""Missed harms that are listed."""


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How to audit.

    Attributes:
        per_reason: Most decisions audited for one reason.
        horizon_s: How long both choices are played onward; None for the time of ``HORIZON_ITEMS`` arrivals. Where it is
            asked who goes on ruling, ``RULE_HORIZONS`` times that.
        margin: Share of the fallback's cost over the horizon that counts as a difference.
        seed: Seed of the sample.
    """

    per_reason: int = 100
    horizon_s: float | None = None
    margin: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        sample: Which decisions were audited.
        findings: What was found at each, in order.
        summary: All of it in JSON's types.
    """

    sample: Sample
    findings: tuple[Finding, ...]
    summary: dict[str, Any]


def audit_run(
    rerun: Rerun, options: AuditOptions, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> AuditReport:
    """Replay the guarded run and play its sampled decisions onward.

    Args:
        rerun: The run.
        options: How to audit.
        on_progress: Told the decisions audited and their number.

    Raises:
        HandrailError: The replay does not decide as the run folder says, so that it is of other sources.
    """
    prepared, log = rerun.prepared, rerun.record.log
    scenario, domain = prepared.scenario, prepared.domain
    sample = draw_sample(log, options.per_reason, options.seed)
    total, done = sum(len(stratum.decisions) for stratum in sample.strata), 0
    horizon_s = options.horizon_s if options.horizon_s is not None else _default_horizon_s(rerun)
    auditors: list[Auditor] = []
    guards: list[GuardedPolicy] = []

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    def build(layout: Layout) -> Auditor:
        policy = domain.make_policy(rerun.policy, prepared.system, scenario.seed)
        fallback = domain.make_heuristic(scenario.fallback, prepared.system, scenario.seed)
        last_rung = domain.make_last_rung(prepared.system)
        guards.append(GuardedPolicy(policy, fallback, build_guard(rerun.guard, layout), layout, last_rung=last_rung))
        auditors.append(Auditor(guards[0], sample.strata, (horizon_s, horizon_s * RULE_HORIZONS), one_more))
        return auditors[0]

    replay(prepared.system, prepared.trace, build, scenario.objective, measured=prepared.measured, seed=scenario.seed)
    if not _same_decisions(guards[0], log):
        raise HandrailError(
            f"{rerun.record.folder}: the replay decides otherwise than its log says, so the run was made by other "
            "sources or another policy; make the run anew"
        )
    findings = tuple(auditors[0].findings)
    summary = {
        "horizon_s": horizon_s,
        "rule_horizon_s": horizon_s * RULE_HORIZONS,
        **summarize(sample, findings, options.margin, options.seed),
        "missed": missed_harms(sample, findings, options.margin, MOST_MISSED),
    }
    return AuditReport(sample, findings, summary)


def _default_horizon_s(rerun: Rerun) -> float:
    arrival_s = rerun.prepared.trace.arrival_s
    items = HORIZON_ITEMS[rerun.prepared.domain.name]
    return float(arrival_s[-1] - arrival_s[0]) / max(len(arrival_s) - 1, 1) * items


def _same_decisions(guarded: GuardedPolicy, log: Any) -> bool:
    recorder = guarded.recorder
    return len(recorder) == len(log) and all(
        recorder.column(name).tolist() == log.column(name).to_pylist() for name in ("now_s", "proposed", "executed")
    )
