"""``handrail compare``: fallback, policy alone and policy behind its guard on one trace."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .grouped import grouped
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ..arms import ArmResult

DEFAULT_WORKERS = 2


@grouped
def compare(
    traffic: options.TrafficOptions,
    split: options.Split = None,
    policy: options.Policy = None,
    fallback: Annotated[
        str | None, typer.Option(help="Heuristic to compare with and to fall back on; by default the domain's.")
    ] = None,
    placebo: Annotated[
        int, typer.Option(min=0, help="Run the fallback N times more, with other tie-breaks.", metavar="N")
    ] = 0,
    guard: options.GuardFile = None,
    stress: options.StressText = None,
    isolate: options.Isolate = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default one under runs/.", metavar="DIR")] = None,
    seed: options.Seed = 0,
    workers: options.Workers = DEFAULT_WORKERS,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    serving: options.LLMOptions,
    cluster: options.ClusterOptions,
    prefetching: options.PrefetchOptions,
) -> None:
    """Replay a trace under a fallback, a learned policy, and that policy behind a guard; show the tails side by side.

    Without --rate and --load an LLM trace is brought to 0.8 of the fleet's capacity.
    """
    began = time.perf_counter()
    chosen, own = options.chosen(domain, serving, cluster, prefetching)
    from ..report.run_folder import check_replaceable, write_run_folder

    load = options.default_load(chosen, traffic)
    scenario = options.build_scenario(
        chosen, traffic, own.scenario_fields(), split=split, load=load, fallback=fallback, seed=seed
    )
    own.check()
    options.check_name(traffic.trace)
    wrong, isolate_s = options.read_stress(stress), options.read_isolation(isolate)
    policy = chosen.default_policy if policy is None else policy
    if out is not None:
        check_replaceable(out)
    # The command that gives the same results: base names for paths, and nothing that changes no result.
    command = ["handrail", "compare", *options.domain_words(chosen), "--trace", traffic.base_name]
    command += ["--policy", options.base_name(policy), *traffic.words(load, split), *own.compare_words(scenario)]
    command += [*(["--sort"] if traffic.sort else []), *(["--placebo", str(placebo)] if placebo else [])]
    command += ["--guard", guard.name] if guard is not None else []
    command += options.stress_words(wrong, isolate_s)
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        from ..compare import compare as run_comparison

        comparison = run_comparison(
            loaded,
            scenario,
            policy,
            placebo=placebo,
            guard_file=guard,
            stress=wrong,
            isolate_s=isolate_s,
            workers=min(workers, os.cpu_count() or 1),
            command=command,
            say=told.say,
            on_progress=told.progress,
        )
        told.say("writing the run folder")
        folder = out if out is not None else Path("runs") / comparison.default_name
        write_run_folder(folder, comparison.files())
    wall_s = time.perf_counter() - began
    if json:
        entries = {arm.name: _with_wall_clock(arm) for arm in comparison.arms if arm.name in comparison.summary}
        print_json({**comparison.summary, **entries, "wall_s": wall_s, "out": str(folder)})
        return
    from ..report.table import comparison_table

    console = stdout_console()
    change = comparison.prepared.change
    counted = f"{len(comparison.prepared.trace):,} {chosen.items}"
    console.print(f"{loaded.name}: {counted}, split {comparison.summary['split']}")
    console.print(change.sentence(), soft_wrap=True)
    if wrong.parts:
        console.print(f"under stress {wrong.name}", soft_wrap=True)
    console.print(comparison_table(comparison.summary, chosen))
    console.print(f"run folder: {folder}", soft_wrap=True)
    console.print(f"figure: {folder / 'figure.png'}", soft_wrap=True)
    console.print(f"took {wall_s:.1f} s")


def _with_wall_clock(arm: ArmResult) -> dict[str, Any]:
    if "failed" in arm.entry:
        return arm.entry
    return {**arm.entry, "simulate_s": arm.simulate_s, "peak_rss_mb": arm.peak_rss_mb}
