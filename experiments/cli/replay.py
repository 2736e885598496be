"""``handrail replay``: one policy on one trace, as it is unless told otherwise."""

from __future__ import annotations

from typing import Any

from ...traces.errors import HandrailError
from . import cluster_modes, options, prefetch_modes
from .grouped import grouped
from .output import print_json, remarks, stdout_console


@grouped
def replay(
    traffic: options.TrafficOptions,
    split: options.Split = None,
    policy: options.Policy = None,
    seed: options.Seed = 0,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    serving: options.LLMOptions,
    cluster: options.ClusterOptions,
    native: options.NativeOptions,
    prefetching: options.PrefetchOptions,
) -> None:
    """Replay a trace under one policy, unguarded, and print its metrics.

    Everything is measured, unless --split cuts out a part (then its warm-up and cool-down are not).
    --rate compresses or stretches time unless --load-by says otherwise.
    """
    chosen, own = options.chosen(domain, serving, cluster, native, prefetching)
    if traffic.load_by is not None and traffic.rate is None and traffic.load is None:
        raise HandrailError("--load-by says how the load is changed, but neither --rate nor --load changes it; add one")
    options.check_name(traffic.trace)
    common: dict[str, Any] = {"split": split, "whole": split is None, "seed": seed}
    if own is cluster:
        if native.no_departures:
            if policy is not None:
                raise HandrailError("--no-departures and --policy: a placement decides; leave --policy out")
            cluster_modes.fill(traffic, cluster, native, seed, json=json, quiet=quiet)
            return
        if native.arrivals is not None:
            raise HandrailError("--arrivals says how far --no-departures fills the machines; add that")
        starts = cluster_modes.starts_of(native)
        natively = cluster_modes.is_native(cluster, native, policy)
        fields = cluster.native_fields(native.discipline) if natively else cluster.scenario_fields()
        scenario = options.build_scenario(chosen, traffic, fields, stretch=False, **common)
        if natively or starts is not None:
            decider = None if natively else policy or chosen.default_policy
            with remarks(quiet or json) as told:
                told.say("reading the trace")
                loaded = cluster.read_trace(traffic)
            cluster_modes.replay_natively(
                chosen, loaded, scenario, policy=decider, starts=starts, length=native.length, json=json, quiet=quiet
            )
            return
    elif own is prefetching:
        natively = prefetch_modes.is_native(prefetching, policy)
        scenario = options.build_scenario(chosen, traffic, prefetching.replay_fields(native=natively), **common)
        if natively:
            with remarks(quiet or json) as told:
                told.say("reading the trace")
                loaded = prefetching.read_trace(traffic)
            prefetch_modes.replay_natively(chosen, loaded, scenario, json=json, quiet=quiet)
            return
    else:
        scenario = options.build_scenario(chosen, traffic, own.scenario_fields(), **common)
    own.check()
    policy = chosen.default_policy if policy is None else policy
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        from ..replay import peak_rss_mb
        from ..replay import replay as run_replay
        from ..scenario import prepare

        prepared = prepare(loaded, scenario, told.say)
        end_s = float(prepared.trace.arrival_s[-1])
        told.say("replaying")
        run = run_replay(
            prepared.system,
            prepared.trace,
            policy,
            scenario.objective,
            measured=prepared.measured,
            seed=seed,
            on_progress=lambda now_s: told.progress(now_s, end_s),
        )
    content: dict[str, Any]
    if run.failure is not None:
        content = {"failed": run.failure.reason, "at_decision": run.failure.at_decision}
    else:
        content = {
            chosen.items: len(prepared.trace),
            "simulate_s": run.timing.simulate_s,
            "peak_rss_mb": peak_rss_mb(),
            **chosen.metrics(run.results, scenario.objective),
        }
    content |= chosen.about(prepared)
    notes = chosen.notes(prepared)
    content |= {"notes": notes} if notes else {}
    if json:
        print_json({**content, "load": prepared.change.to_json()})
        return
    console = stdout_console()
    console.print(f"{loaded.name}: {len(prepared.trace):,} {chosen.items} under {policy}")
    console.print(prepared.change.sentence(), soft_wrap=True)
    if run.failure is not None:
        console.print(f"the run ended at decision {run.failure.at_decision}: {run.failure.reason}", soft_wrap=True)
        return
    from ..report.table import replay_table

    console.print(replay_table(content, chosen))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
