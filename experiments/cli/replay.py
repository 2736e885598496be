"""``handrail replay``: one policy on one trace, as it is unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...traces.errors import HandrailError
from . import cluster_modes, options, prefetch_modes
from .grouped import grouped
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ..scenarios import Stress


@grouped
def replay(
    traffic: options.TrafficOptions,
    split: options.Split = None,
    policy: options.Policy = None,
    stress: options.StressText = None,
    isolate: options.Isolate = None,
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
    wrong, isolate_s = options.read_stress(stress), options.read_isolation(isolate)
    common: dict[str, Any] = {"split": split, "whole": split is None, "seed": seed}
    if own is cluster:
        if native.no_departures:
            _check_asked(wrong, isolate_s, asked=False)
            if policy is not None:
                raise HandrailError("--no-departures and --policy: a placement decides; leave --policy out")
            cluster_modes.fill(traffic, cluster, native, seed, json=json, quiet=quiet)
            return
        if native.arrivals is not None:
            raise HandrailError("--arrivals says how far --no-departures fills the machines; add that")
        starts = cluster_modes.starts_of(native)
        natively = cluster_modes.is_native(cluster, native, policy)
        _check_asked(wrong, isolate_s, asked=not natively and starts is None)
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
        _check_asked(wrong, isolate_s, asked=not natively)
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
    spec = chosen.default_policy if policy is None else policy
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        from ..replay import peak_rss_mb
        from ..scenario import prepare
        from ..scenarios import run_stressed
        from ..scenarios.isolation import isolated
        from ..scenarios.record import stress_entry, stress_notes

        prepared = prepare(loaded, scenario, told.say)
        end_s = float(prepared.trace.arrival_s[-1])

        def build(_: Any) -> Any:
            if isolate_s is not None:
                return isolated(spec, prepared.system, seed, isolate_s)
            return chosen.make_policy(spec, prepared.system, seed)

        told.say("replaying")
        done = run_stressed(
            prepared,
            wrong,
            fallback=lambda _: chosen.make_heuristic(scenario.fallback, prepared.system, seed),
            policy=build,
            isolate_s=isolate_s,
            on_progress=lambda now_s: told.progress(now_s, end_s),
        )
    under, added = stress_entry(prepared, wrong, isolate_s), stress_notes(prepared, wrong, isolate_s)
    run, prepared = done.run, done.prepared
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
    content |= {**chosen.about(prepared), **under}
    notes = [*chosen.notes(prepared), *added]
    content |= {"notes": notes} if notes else {}
    if json:
        print_json({**content, "load": prepared.change.to_json()})
        return
    console = stdout_console()
    console.print(f"{loaded.name}: {len(prepared.trace):,} {chosen.items} under {spec}")
    console.print(prepared.change.sentence(), soft_wrap=True)
    if run.failure is not None:
        console.print(f"the run ended at decision {run.failure.at_decision}: {run.failure.reason}", soft_wrap=True)
        return
    from ..report.table import replay_table

    console.print(replay_table(content, chosen))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def _check_asked(stress: Stress, isolate_s: float | None, *, asked: bool) -> None:
    """Refuse a stress or an isolation where no policy is asked, or several windows are replayed.

    Raises:
        HandrailError: There is one.
    """
    if asked or not (stress.parts or isolate_s is not None):
        return
    option = "--stress" if stress.parts else "--isolate"
    raise HandrailError(f"{option} acts on one replay under a policy; name one with --policy, and leave out --starts")
