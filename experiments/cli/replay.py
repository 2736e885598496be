"""``handrail replay``: one policy on one trace, as it is unless told otherwise."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...traces.errors import HandrailError
from . import options
from .output import print_json, remarks, stdout_console


def replay(
    trace: options.Trace = "bundled",
    map_: options.Map = None,
    failures: options.Failures = "drop",
    sort: options.Sort = False,
    window: options.Window = None,
    split: options.Split = None,
    rate: options.Rate = None,
    load: options.Load = None,
    load_by: options.LoadBy = None,
    replicas: options.Replicas = "h100:2,a100:2",
    preset: options.Preset = "vllm-v1",
    telemetry_delay: options.TelemetryDelay = 0.1,
    policy: Annotated[
        str,
        typer.Option(
            help="Policy folder, heuristic, or sabotage:worst|random|constant|nan|slow|raise.", metavar="DIR_OR_NAME"
        ),
    ] = "bundled",
    slo_ttft: options.SloTtft = 1.0,
    slo_tbt: options.SloTbt = 0.1,
    seed: options.Seed = 0,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Replay a trace under one policy, unguarded, and print its metrics.

    Every request is measured, unless --split cuts out a part (then its warm-up and cool-down are not).
    --rate compresses or stretches time unless --load-by says otherwise.
    """
    options.check_domain(domain)
    from ..scenario import parse_window

    if load_by is not None and rate is None and load is None:
        raise HandrailError("--load-by says how the load is changed, but neither --rate nor --load changes it; add one")
    scenario = options.build_scenario(
        window_s=None if window is None else parse_window(window),
        split=split,
        rate=rate,
        load=load,
        load_by=load_by,
        replicas=replicas,
        preset=preset,
        telemetry_delay_s=telemetry_delay,
        objective={"slo_ttft_s": slo_ttft, "slo_tbt_s": slo_tbt},
        whole=split is None,
        seed=seed,
    )
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = options.read_trace(options.Reading(trace, map_, failures, sort))
        from ...envs.llm_serving.metrics import compute_metrics
        from ..replay import peak_rss_mb
        from ..replay import replay as run_replay
        from ..scenario import prepare

        prepared = prepare(loaded, scenario, told.say)
        end_s = float(prepared.trace.arrival_s[-1])
        told.say("replaying")
        run = run_replay(
            prepared.fleet,
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
            "requests": len(prepared.trace),
            "simulate_s": run.timing.simulate_s,
            "peak_rss_mb": peak_rss_mb(),
            **compute_metrics(run.results, scenario.objective),
        }
    if json:
        print_json({**content, "load": prepared.change.to_json()})
        return
    console = stdout_console()
    console.print(f"{loaded.name}: {len(prepared.trace):,} requests under {policy}")
    console.print(prepared.change.sentence(), soft_wrap=True)
    if run.failure is not None:
        console.print(f"the run ended at decision {run.failure.at_decision}: {run.failure.reason}", soft_wrap=True)
        return
    from ..report.table import replay_table

    console.print(replay_table(content))
