"""``handrail compare``: fallback, policy alone and policy behind its guard on one trace."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ..arms import ArmResult

DEFAULT_WORKERS = 2


def compare(
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
    fallback: Annotated[str, typer.Option(help="Heuristic to compare with and to fall back on.")] = "expected-drain",
    slo_ttft: options.SloTtft = 1.0,
    slo_tbt: options.SloTbt = 0.1,
    placebo: Annotated[
        int, typer.Option(min=0, help="Run the fallback N times more, with other tie-breaks.", metavar="N")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default one under runs/.", metavar="DIR")] = None,
    seed: options.Seed = 0,
    workers: Annotated[int, typer.Option(min=1, help="Replays at once; changes no result.")] = DEFAULT_WORKERS,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Replay a trace under a fallback, a learned policy, and that policy behind a guard; show the tails side by side.

    Without --rate and --load the trace is brought to 0.8 of the fleet's capacity.
    """
    began = time.perf_counter()
    options.check_domain(domain)
    from ..report.run_folder import check_replaceable, write_run_folder
    from ..scenario import DEFAULT_LOAD, parse_window

    if rate is None and load is None:
        load = DEFAULT_LOAD
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
        fallback=fallback,
        seed=seed,
    )
    if out is not None:
        check_replaceable(out)
    reading = options.Reading(trace, map_, failures, sort)
    command = _command(locals())

    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = options.read_trace(reading)
        from ..compare import compare as run_comparison

        comparison = run_comparison(
            loaded,
            scenario,
            policy,
            placebo=placebo,
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
    console.print(f"{loaded.name}: {len(comparison.prepared.trace):,} requests, split {comparison.summary['split']}")
    console.print(change.sentence(), soft_wrap=True)
    console.print(comparison_table(comparison.summary))
    console.print(f"run folder: {folder}", soft_wrap=True)
    console.print(f"figure: {folder / 'figure.png'}", soft_wrap=True)
    console.print(f"took {wall_s:.1f} s")


def _with_wall_clock(arm: ArmResult) -> dict[str, Any]:
    if "failed" in arm.entry:
        return arm.entry
    return {**arm.entry, "simulate_s": arm.simulate_s, "peak_rss_mb": arm.peak_rss_mb}


def _command(values: dict[str, Any]) -> list[str]:
    """The command that gives the same results, with base names for paths and without what changes no result."""
    scenario = values["scenario"]
    words = ["handrail", "compare", "--trace", _base_name(values["trace"]), "--policy", _base_name(values["policy"])]
    for item in values["map_"] or []:
        words += ["--map", item]
    for option in ("window", "split", "rate", "load", "load_by"):
        if values[option] is not None:
            words += [f"--{option.replace('_', '-')}", str(values[option])]
    words += ["--replicas", scenario.replicas, "--preset", scenario.preset, "--fallback", scenario.fallback]
    words += ["--telemetry-delay", str(scenario.telemetry_delay_s), "--seed", str(scenario.seed)]
    words += ["--slo-ttft", str(scenario.objective.slo_ttft_s), "--slo-tbt", str(scenario.objective.slo_tbt_s)]
    words += ["--failures", values["failures"], *(["--sort"] if values["sort"] else [])]
    words += ["--placebo", str(values["placebo"])] if values["placebo"] else []
    return words


def _base_name(path_or_name: str) -> str:
    return Path(path_or_name).name or path_or_name
