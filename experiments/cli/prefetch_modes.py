"""What ``handrail replay --domain prefetch`` does beside replaying a trace under a policy: ``--prefetcher`` or
``--controller`` (or ``--timeless`` without a policy) lets the cache's own scheme decide, and no policy is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...traces.errors import HandrailError
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ..domains import Domain
    from .prefetch_options import PrefetchOptions


def is_native(own: PrefetchOptions, policy: str | None) -> bool:
    """Whether the cache's own scheme decides.

    Raises:
        HandrailError: Both it and a policy are named.
    """
    for option, value in (("--prefetcher", own.prefetcher), ("--controller", own.controller)):
        if value is not None and policy is not None:
            raise HandrailError(f"{option} and --policy both say what decides; give one of them")
    return policy is None and bool(own.prefetcher or own.controller or own.timeless)


def replay_natively(chosen: Domain, loaded: Any, scenario: Any, *, json: bool, quiet: bool) -> None:
    """Replay the trace under the cache's own scheme.

    Raises:
        HandrailError: Trace and scenario do not go together.
    """
    from time import perf_counter

    from ...envs.prefetch import PrefetchSimulator
    from ..domains.prefetch_system import describe_standing, setting_notes
    from ..replay import peak_rss_mb
    from ..scenario import prepare

    with remarks(quiet or json) as told:
        prepared = prepare(loaded, scenario, told.say)
        told.say("replaying")
        measured_s = (prepared.measured.start_s, prepared.measured.end_s)
        simulator = PrefetchSimulator(prepared.system, prepared.trace, scenario.seed, measured_s=measured_s)
        began = perf_counter()
        point = simulator.advance()
        assert point is None, "nobody is asked"
        simulate_s = perf_counter() - began
        metrics = chosen.metrics(simulator.results(), prepared.scenario.objective)
    content = {
        "accesses": metrics["accesses"],
        "simulate_s": simulate_s,
        "peak_rss_mb": peak_rss_mb(),
        **metrics,
        **chosen.about(prepared),
        "decides": describe_standing(prepared.system),
        "notes": setting_notes(prepared.system, prepared.trace),
        "load": prepared.change.to_json(),
    }
    if json:
        print_json(content)
        return
    from ..report.table import replay_table

    console = stdout_console()
    counted = f"{len(prepared.trace):,} accesses"
    console.print(f"{loaded.name}: {counted} on {content['cache']} under {content['decides']}", soft_wrap=True)
    console.print(prepared.change.sentence(), soft_wrap=True)
    console.print(replay_table(content, chosen))
    for note in content["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
