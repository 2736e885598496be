"""One replay under a stress: what ``compare --stress``, ``replay --stress``, the study and the audit use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ...envs.common import Layout
from ..replay import ReplayRun, UpObserver, run_policy
from ..scenario import Prepared
from .context import StressContext
from .deceived import Deceived, Undeceived
from .isolation import isolated
from .sensors import REACHES, Sensors
from .stress import NO_STRESS, Stress, Workshop

Build = Callable[[Layout], Any]
"""Builds a policy for the observation's layout."""

Assemble = Callable[[Any, Any, Layout], Any]
"""Puts a guard around (policy, fallback): what ``GuardedPolicy`` does, or any null guard."""


@dataclass(frozen=True, slots=True)
class StressedRun:
    """What a replay under a stress gave.

    Attributes:
        run: Results, decisions, timing, failure.
        prepared: What was replayed: the trace and the system with the stress in.
        decider: What decided, without the sensors around it: the guarded policy, the policy alone or the fallback.
        simulator: The simulator at its end.
        window_s: When the stress acted, [start, end) in simulated seconds; None without a stress.
    """

    run: ReplayRun
    prepared: Prepared
    decider: Any
    simulator: Any
    window_s: tuple[float, float] | None


def context_of(prepared: Prepared, seed: int | None = None) -> StressContext:
    """The context of a replay of ``prepared``; by default under the scenario's seed."""
    return StressContext.of(prepared.domain.name, prepared.trace, prepared.scenario.seed if seed is None else seed)


def stressed(prepared: Prepared, stress: Stress, seed: int | None = None) -> Prepared:
    """``prepared`` with what the stress does to trace and system.

    Raises:
        HandrailError: The stress has no meaning there.
    """
    if not stress.parts:
        return prepared
    context = context_of(prepared, seed)
    return replace(
        prepared,
        trace=stress.on_trace(prepared.trace, context),
        system=stress.on_system(prepared.system, context),
    )


def run_stressed(
    prepared: Prepared,
    stress: Stress = NO_STRESS,
    *,
    fallback: Build,
    policy: Build | None = None,
    guard: Assemble | None = None,
    shadow: Build | None = None,
    seed: int | None = None,
    isolate_s: float | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> StressedRun:
    """Replay ``prepared`` once with ``stress`` applied to trace, system, sensors and policy, in this order.

    Args:
        prepared: A scenario made ready, without the stress.
        stress: What goes wrong.
        fallback: Builds the fallback.
        policy: Builds the learned policy; None replays the fallback alone.
        guard: Puts a guard around policy and fallback; None replays the policy alone. What it returns may have
            ``bind(simulator, observer)``, which is called before the first decision.
        shadow: Builds a policy that is asked at each decision and not obeyed; it sees clean sensors.
        seed: Seed of the stress, by default the scenario's; the simulator always has the scenario's own.
        isolate_s: Seconds of wall time a decision for the broken policies of the stress, which then have a process of
            their own each; None for this process.
        on_progress: Called now and then with the simulated time in seconds.

    Raises:
        HandrailError: The stress has no meaning there, or trace, system or policy cannot be used.
    """
    scenario, domain = prepared.scenario, prepared.domain
    context = context_of(prepared, seed)
    now = stressed(prepared, stress, seed)
    system, layout = now.system, domain.layout(now.system)
    sensors = stress.on_sensors(Sensors(), context)
    to_policy, to_checks, to_all = (sensors.distortions(reach, layout) for reach in REACHES)

    def make(spec: str) -> Any:
        if isolate_s is not None:
            return isolated(spec, system, scenario.seed, isolate_s)
        return domain.make_policy(spec, system, scenario.seed)

    workshop = Workshop(layout, make, lambda: fallback(layout))
    if policy is None:
        decider = fallback(layout)
        outer = Deceived(decider, to_all) if to_all else decider
    else:
        learned = stress.on_policy(policy(layout), context, workshop)
        if guard is None:
            decider = learned
            chain = (*to_all, *to_checks, *to_policy)
            outer = Deceived(decider, chain) if chain else decider
        else:
            inner = Deceived(learned, to_policy) if to_policy else learned
            eyes = Undeceived(fallback(layout)) if to_checks else None
            decider = guard(inner, fallback(layout) if eyes is None else eyes, layout)
            outer = Deceived(decider, to_all, to_checks, eyes) if to_all or to_checks else decider

    measured = now.measured
    simulator = domain.simulator(system, now.trace, scenario.seed, (measured.start_s, measured.end_s))
    blind = shadow is None and outer is decider and not getattr(decider, "needs_observation", True)
    observer = UpObserver(layout) if blind else domain.observer(simulator)
    bind = getattr(outer, "bind", None)
    if bind is not None:
        bind(simulator, observer)
    other = shadow(layout) if shadow is not None else None
    run = run_policy(
        simulator, observer, outer, domain.judge(scenario.objective), shadow=other, on_progress=on_progress
    )
    return StressedRun(run, now, decider, simulator, stress.window_s(context) if stress.parts else None)
