"""The arms of a comparison: the same traffic under the fallback, the policy alone, the policy behind its guard."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.common import Layout
from ..policies.guards import GuardConfig, GuardedPolicy, build_guard
from ..traces.errors import HandrailError
from .decision_log import dump_decisions
from .replay import peak_rss_mb
from .report.figure import Curve
from .report.run_folder import dump_parquet
from .scenario import Prepared
from .scenarios import NO_STRESS, Stress, context_of, run_stressed
from .scenarios.isolation import isolated


@dataclass(frozen=True, slots=True)
class Arm:
    """One run of a comparison.

    Attributes:
        name: ``fallback``, ``unguarded``, ``guarded``, or ``placebo-1`` and so on.
        policy: What ``--policy`` takes; ignored by fallback and placebo.
        guard: The guard's config; set for the guarded arm only.
        tie_seed: Other tie-breaks of the fallback, for a placebo, or behind a guard for a pair to that placebo; None
            for the fallback's own.
    """

    name: str
    policy: str
    guard: GuardConfig | None = None
    tie_seed: int | None = None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What one arm gave.

    Attributes:
        name: The arm's name.
        entry: Its part of the JSON, without wall-clock values.
        simulate_s: Wall seconds inside the simulator.
        peak_rss_mb: Most memory of the process that ran it, in megabytes.
        timing: Wall seconds by where they went.
        longest_sojourn_s: Longest time in the system of a finished item.
        last_end_s: When the last measured item ended.
        curve: Measured items for the figure; None if the arm failed.
        results_parquet: Result columns; None if the arm failed.
        decisions_parquet: The guard's decision log; None for the other arms.
        guard_states: Spans (start_s, end_s, state) in which the guard was not closed.
    """

    name: str
    entry: dict[str, Any]
    simulate_s: float
    peak_rss_mb: float
    timing: dict[str, float]
    longest_sojourn_s: float = 0.0
    last_end_s: float = 0.0
    curve: Curve | None = None
    results_parquet: bytes | None = None
    decisions_parquet: bytes | None = None
    guard_states: tuple[tuple[float, float, str], ...] = field(default=())


def run_arm(prepared: Prepared, arm: Arm, stress: Stress = NO_STRESS, isolate_s: float | None = None) -> ArmResult:
    """Replay one arm. The same arm gives the same result in any process, unless the policy is isolated.

    Args:
        prepared: What is replayed.
        arm: Under what.
        stress: What goes wrong in the replay.
        isolate_s: Seconds of wall time a decision for a learned policy in a process of its own; None for this process.

    Raises:
        HandrailError: The policy cannot be built, the stress has no meaning there, or the fallback itself failed.
    """
    scenario, domain, seed = prepared.scenario, prepared.domain, prepared.scenario.seed
    learned = arm.name in ("unguarded", "guarded")
    system = stress.on_system(prepared.system, context_of(prepared)) if stress.parts else prepared.system

    def fallback(_: Layout) -> Any:
        return domain.make_heuristic(scenario.fallback, system, seed, arm.tie_seed)

    def policy(_: Layout) -> Any:
        if isolate_s is not None:
            return isolated(arm.policy, system, seed, isolate_s)
        return domain.make_policy(arm.policy, system, seed)

    def guard(policy: Any, behind: Any, layout: Layout) -> GuardedPolicy:
        assert arm.guard is not None
        last_rung, digest = domain.make_last_rung(system), getattr(policy, "policy_hash", "") or ""
        return GuardedPolicy(policy, behind, build_guard(arm.guard, layout), layout, last_rung, digest)

    def shadow(_: Layout) -> Any:
        return domain.make_heuristic(scenario.fallback, system, seed)

    done = run_stressed(
        prepared,
        stress,
        fallback=fallback,
        policy=policy if learned else None,
        guard=guard if learned and arm.guard is not None else None,
        shadow=shadow if arm.name == "unguarded" else None,
        isolate_s=isolate_s,
    )
    run, prepared = done.run, done.prepared
    guarded = [done.decider] if isinstance(done.decider, GuardedPolicy) else []
    timing = asdict(run.timing)
    if run.failure is not None:
        if arm.name != "unguarded":
            where = f"at decision {run.failure.at_decision}: {run.failure.reason}"
            raise HandrailError(f"the {arm.name} run failed {where}; nothing stands behind it")
        entry = {"failed": run.failure.reason, "at_decision": run.failure.at_decision}
        return ArmResult(arm.name, entry, run.timing.simulate_s, peak_rss_mb(), timing)
    results = run.results
    entry: dict[str, Any] = {domain.items: len(prepared.trace), **domain.metrics(results, scenario.objective)}
    if arm.name == "unguarded":
        entry["differs_from_fallback"] = run.decisions.differing_share()
    for behind in guarded:
        entry["availability"] = behind.availability
        entry["interventions"] = dict(sorted(behind.interventions.items()))
        entry["differs_from_fallback"] = behind.difference
    decisions = None
    if guarded and arm.guard is not None:
        decisions = dump_decisions(guarded[0], arm.guard, run.decisions.item, domain)
    measured = np.asarray(results.measured)
    finish_s = np.asarray(results.finish_s)
    sojourn_s = finish_s - np.asarray(results.arrival_s)
    return ArmResult(
        arm.name,
        entry,
        run.timing.simulate_s,
        peak_rss_mb(),
        timing,
        longest_sojourn_s=_largest(sojourn_s),
        last_end_s=_largest(finish_s[measured]),
        curve=Curve(np.asarray(results.arrival_s)[measured], domain.headline(results)[measured]),
        results_parquet=dump_parquet(domain.result_columns(results)),
        decisions_parquet=decisions,
        guard_states=_open_spans(guarded[0], float(prepared.trace.arrival_s[-1])) if guarded else (),
    )


def _largest(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else 0.0


def _open_spans(policy: GuardedPolicy, end_s: float) -> tuple[tuple[float, float, str], ...]:
    """Spans in which the guard was open or half-open."""
    transitions = policy.guard.supervisor.transitions
    if not transitions:
        return ()
    ends = [t.now_s for t in transitions[1:]] + [max(end_s, transitions[-1].now_s)]
    spans = [(t.now_s, end, t.after.label) for t, end in zip(transitions, ends, strict=True)]
    return tuple(span for span in spans if span[2] != "closed")
