"""One replay of an arm under a stress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...envs.common import Layout
from ...policies.guards import GuardConfig, GuardedPolicy
from ...policies.guards.supervisor import State
from ..scenario import Prepared
from ..scenarios.run import StressedRun, context_of, run_stressed
from ..scenarios.stress import Stress
from . import arms
from .guards import assembler, margin_fields, policy_spec
from .nulls import Delayed, LeastOfFields, RandomSwitch, ShiftedIntervals

INJECTED_DELAY_S = 100e-6
"""The guard's own cost as simulated time: twice its budget for a decision."""


@dataclass(frozen=True, slots=True)
class GuardedRun:
    """What null guards take from a guarded run."""

    times_s: Any
    learned: Any
    availability: float


def run_arm(
    prepared: Prepared,
    stress: Stress,
    arm: str,
    policy: str,
    guard: GuardConfig,
    *,
    seed: int,
    tie_seed: int | None = None,
    earlier: GuardedRun | None = None,
) -> StressedRun:
    """Replay one arm.

    Args:
        prepared: A replicate, without the stress.
        stress: What goes wrong.
        arm: Name of the arm.
        policy: What ``--policy`` takes; of no account for shared arms.
        guard: The calibrated guard.
        seed: Seed of stress and nulls.
        tie_seed: Other tie-breaks of the fallback.
        earlier: The guarded run that a null guard is made from.

    Raises:
        HandrailError: The stress has no meaning there, or the policy cannot be built.
    """
    domain, scenario = prepared.domain, prepared.scenario

    def fallback(layout: Layout) -> Any:
        return domain.make_heuristic(scenario.fallback, prepared.system, scenario.seed, tie_seed)

    def learned(layout: Layout) -> Any:
        return domain.make_policy(policy_spec(policy), prepared.system, scenario.seed)

    def rule(layout: Layout) -> Any:
        return LeastOfFields(layout, margin_fields(guard))

    build: Any = learned
    wrap: Any = assembler(guard, prepared)
    if arm == arms.FALLBACK or arm.startswith("placebo-"):
        build, wrap = None, None
    elif arm == arms.CHECKED_FALLBACK:
        build = fallback
    elif arm == arms.RULE_WITHIN_CHECKS:
        build = rule
    elif arm == arms.UNGUARDED:
        wrap = None
    elif arm == arms.RANDOM_SWITCH:
        assert earlier is not None
        share = earlier.availability
        wrap = lambda p, f, _: RandomSwitch(p, f, share, seed)  # noqa: E731
    elif arm == arms.SHIFTED:
        assert earlier is not None
        times_s, ruled = earlier.times_s, earlier.learned
        shift_s = 0.5 * (times_s[-1] - times_s[0])
        wrap = lambda p, f, _: ShiftedIntervals(p, f, times_s, ruled, shift_s)  # noqa: E731
    elif arm == arms.DELAYED:
        inner = wrap
        wrap = lambda p, f, layout: Delayed(inner(p, f, layout), INJECTED_DELAY_S)  # noqa: E731
    return run_stressed(prepared, stress, fallback=fallback, policy=build, guard=wrap, seed=seed)


def window_of(prepared: Prepared, stress: Stress, seed: int) -> tuple[float, float] | None:
    """When the stress acts, in simulated seconds; None without one."""
    return stress.window_s(context_of(prepared, seed)) if stress.parts else None


def guarded_policy(decider: Any) -> GuardedPolicy | None:
    """The guarded policy inside what decided, if there is one."""
    inner = decider.policy if isinstance(decider, Delayed) else decider
    return inner if isinstance(inner, GuardedPolicy) else None


def guard_facts(policy: GuardedPolicy) -> dict[str, Any]:
    """What a guarded policy did, in JSON's types."""
    transitions = policy.guard.supervisor.transitions
    return {
        "availability": policy.availability,
        "interventions": dict(sorted(policy.interventions.items())),
        "transitions": [[t.now_s, t.decision, t.before.label, t.after.label, t.cause] for t in transitions],
        "openings": sum(1 for t in transitions if t.after is State.OPEN),
        "log_sha256": policy.recorder.log_hash(),
        "decisions": len(policy.recorder),
    }
