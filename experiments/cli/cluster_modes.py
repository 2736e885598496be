"""What ``handrail replay --domain cluster`` does beside replaying a trace under a policy.

- ``--discipline`` or ``--placement`` alone: the cluster's own scheduler decides, and no policy is loaded.
- ``--starts``: sequences of jobs cut out of the trace, each on an empty cluster.
- ``--no-departures``: how much of the machines a placement can fill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...traces.errors import HandrailError
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ..domains import Domain
    from .cluster_options import ClusterOptions, NativeOptions
    from .options import TrafficOptions

DEFAULT_LENGTH, DEFAULT_ARRIVALS = 1024, 1.3


def is_native(own: ClusterOptions, native: NativeOptions, policy: str | None) -> bool:
    """Whether the cluster's own scheduler decides.

    Raises:
        HandrailError: Both it and a policy are named.
    """
    named = native.discipline is not None or own.placement is not None
    if named and policy is not None:
        option = "--discipline" if native.discipline is not None else "--placement"
        raise HandrailError(f"{option} and --policy both say what decides; give one of them")
    return named


def starts_of(native: NativeOptions) -> list[int] | None:
    """Rows of ``--starts``.

    Raises:
        HandrailError: They are no rows, or ``--length`` stands without them.
    """
    if native.starts is None:
        if native.length is not None:
            raise HandrailError("--length is the length of a sequence; add --starts ROW,ROW,...")
        return None
    parts = [part.strip() for part in native.starts.split(",")]
    if not all(part.isdecimal() and len(part) < 16 for part in parts):
        raise HandrailError(f"--starts {native.starts!r} is not ROW,ROW,... with rows from 0 on, as in 1981,2756")
    return [int(part) for part in parts]


def fill(
    traffic: TrafficOptions, own: ClusterOptions, native: NativeOptions, seed: int, *, json: bool, quiet: bool
) -> None:
    """``--no-departures``: print how much of the machines' GPUs is allocated.

    Raises:
        HandrailError: ``--nodes`` or ``--placement`` is missing, or an option has no meaning here.
    """
    from time import perf_counter

    from ...traces import read_nodes
    from ..cluster_allocation import allocate
    from ..replay import peak_rss_mb

    if own.nodes is None or own.placement is None:
        raise HandrailError("--no-departures fills machines: add --nodes FILE and --placement NAME")
    given = {"window": traffic.window, "rate": traffic.rate, "load": traffic.load, "load-by": traffic.load_by}
    given |= {"discipline": native.discipline, "starts": native.starts, "backfill": own.backfill}
    given |= {"processors": own.processors, "machines": own.machines, "protocol": own.protocol}
    for name, value in given.items():
        if value is not None:
            raise HandrailError(f"--{name} has no meaning with --no-departures, where nothing takes time; leave it out")
    arrivals = DEFAULT_ARRIVALS if native.arrivals is None else native.arrivals
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        pods, nodes = own.read_trace(traffic), read_nodes(own.nodes)
        told.say("filling the machines")
        began = perf_counter()
        found = allocate(pods, nodes, own.placement, arrivals, seed, told.progress)
        simulate_s = perf_counter() - began
    content = {"jobs": found["pods"], "simulate_s": simulate_s, "peak_rss_mb": peak_rss_mb(), **found}
    if json:
        print_json(content)
        return
    allocated, fragmented = found["gpu_allocated"], found["fragmentation"]
    console = stdout_console()
    console.print(f"{pods.name}: {found['pods']:,} jobs on {len(nodes):,} machines under {own.placement}")
    at_100 = "-" if allocated["at_100"] is None else f"{allocated['at_100']:.2f} %"
    console.print(f"GPUs allocated: {at_100} when 100 % were asked for, {allocated['end']:.2f} % in the end")
    shown = ", ".join(f"{k.replace('_', ' ')} {'-' if v is None else f'{v:.2f} %'}" for k, v in fragmented.items())
    console.print(f"fragmentation of what is free: {shown}; {found['skipped']:,} jobs fitted nowhere")


def replay_natively(
    chosen: Domain,
    loaded: Any,
    scenario: Any,
    *,
    policy: str | None,
    starts: list[int] | None,
    length: int | None,
    json: bool,
    quiet: bool,
) -> None:
    """Replay the trace, or sequences of it, under the standing scheduler (``policy`` None) or under a policy.

    Raises:
        HandrailError: Trace and scenario do not go together.
    """
    from ..cluster_replay import run_native, run_policy_on, run_sequences
    from ..replay import peak_rss_mb
    from ..scenario import prepare

    with remarks(quiet or json) as told:
        prepared = prepare(loaded, scenario, told.say)
        system, seed, objective = prepared.system, scenario.seed, scenario.objective
        told.say("replaying")
        if starts is None:
            ran = run_native(system, prepared.trace, measured=prepared.measured, seed=seed)
            content, simulate_s = chosen.metrics(ran.results, objective), ran.simulate_s
        else:

            def native(trace: Any) -> Any:
                return run_native(system, trace, seed=seed)

            run = native if policy is None else run_policy_on(system, policy, objective, seed)
            content, simulate_s = run_sequences(prepared.trace, starts, length or DEFAULT_LENGTH, run, told.progress)
    failed = "failed" in content
    if not failed:
        content = {"jobs": content["jobs"], "simulate_s": simulate_s, "peak_rss_mb": peak_rss_mb(), **content}
    content = {
        **content,
        **chosen.about(prepared),
        "decides": policy or _scheduler(system),
        "notes": chosen.notes(prepared),
        "load": prepared.change.to_json(),
    }
    if json:
        print_json(content)
        return
    console = stdout_console()
    counted = f"{len(prepared.trace):,} jobs" if starts is None else f"{len(starts)} sequences"
    console.print(f"{loaded.name}: {counted} on {content['cluster']} under {content['decides']}")
    console.print(prepared.change.sentence(), soft_wrap=True)
    if failed:
        where = f"the sequence from row {content['in_sequence']:,} at decision {content['at_decision']}"
        console.print(f"the run ended in {where}: {content['failed']}", soft_wrap=True)
        return
    if starts is None:
        from ..report.table import replay_table

        console.print(replay_table(content, chosen))
    else:
        from ..report.sequences_table import sequences_table

        console.print(sequences_table(content, chosen))
    for note in content["notes"]:
        console.print(f"note: {note}", soft_wrap=True)


def _scheduler(system: Any) -> str:
    """The standing scheduler in a few words."""
    backfill = "" if system.backfill == "none" else f" with {system.backfill} backfilling"
    placement = "" if system.processors is not None else f", {system.placement}"
    return f"{system.discipline}{backfill}{placement}"
