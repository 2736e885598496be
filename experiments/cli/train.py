"""``handrail train``: fit a routing policy to a trace and write its policy folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ...traces.errors import HandrailError
from . import options
from .output import print_json, remarks, stdout_console


def train(
    out: Annotated[Path, typer.Option(help="Policy folder to write.", metavar="DIR")],
    trace: options.Trace = "bundled",
    algo: Annotated[
        str, typer.Option(help="Search on the tail itself, or an SB3 algorithm.", metavar="cem|ppo|dqn")
    ] = "cem",
    map_: options.Map = None,
    failures: options.Failures = "drop",
    sort: options.Sort = False,
    window: options.Window = None,
    rate: options.Rate = None,
    load: options.Load = None,
    load_by: options.LoadBy = None,
    replicas: options.Replicas = "h100:2,a100:2",
    preset: options.Preset = "vllm-v1",
    telemetry_delay: options.TelemetryDelay = 0.1,
    fallback: Annotated[str, typer.Option(help="Heuristic that scores are relative to.")] = "expected-drain",
    slo_ttft: options.SloTtft = 1.0,
    slo_tbt: options.SloTbt = 0.1,
    seed: options.Seed = 0,
    iterations: Annotated[int, typer.Option(min=1, help="cem: iterations.")] = 12,
    population: Annotated[int, typer.Option(min=3, help="cem: candidates an iteration.")] = 32,
    elites: Annotated[int, typer.Option(min=2, help="cem: best candidates that the search follows.")] = 8,
    hidden: Annotated[
        str, typer.Option(help="cem: one or two hidden layers of the scorer; none for a linear one.", metavar="N[,N]")
    ] = "",
    windows: Annotated[int, typer.Option(min=1, help="cem: stretches of training traffic.")] = 6,
    per_iteration: Annotated[int, typer.Option(min=1, help="cem: stretches that an iteration replays.")] = 2,
    window_requests: Annotated[int, typer.Option(min=100, help="cem: longest stretch, in requests.")] = 12_000,
    steps: Annotated[int, typer.Option(min=1, help="ppo, dqn: environment steps.")] = 500_000,
    workers: Annotated[int, typer.Option(min=1, help="Replays at once; changes no result.")] = 2,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a routing policy: on the first half of a trace, selected on the next fifth, reported on the rest.

    Without --rate and --load each part is brought to 0.8 of the fleet's capacity. A search that was broken off goes on
    where it stopped if the same command is given again.
    """
    began = time.perf_counter()
    options.check_domain(domain)
    from ..scenario import DEFAULT_LOAD, parse_window

    if rate is None and load is None:
        load = DEFAULT_LOAD
    scenario = options.build_scenario(
        window_s=None if window is None else parse_window(window),
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
    _check_policy_folder(out)
    layers = _layers(hidden)
    command = _command(locals())
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = options.read_trace(options.Reading(trace, map_, failures, sort))
        from ..training import ALGORITHMS, TrainingOptions, train_policy

        if algo not in ALGORITHMS:
            raise HandrailError(f"--algo {algo!r} is unknown; choose one of {', '.join(ALGORITHMS)}")
        report = train_policy(
            loaded,
            scenario,
            TrainingOptions(
                algorithm=algo,  # type: ignore[arg-type]
                seed=seed,
                iterations=iterations,
                population=population,
                elites=elites,
                hidden=layers,
                windows=windows,
                per_iteration=per_iteration,
                window_requests=window_requests,
                steps=steps,
                workers=min(workers, os.cpu_count() or 1),
            ),
            out,
            command=command,
            say=told.say,
            on_progress=told.progress,
        )
    wall_s = time.perf_counter() - began
    if json:
        print_json({**report.to_json(), "wall_s": wall_s, "out": str(out)})
        return
    from ..report.training_table import training_table

    console = stdout_console()
    console.print(f"{loaded.name}: trained {report.trained_load}", soft_wrap=True)
    console.print(f"test part: {report.test_load}", soft_wrap=True)
    console.print(training_table(report))
    console.print(f"policy folder: {out}", soft_wrap=True)
    console.print(f"took {wall_s:.1f} s")


def _layers(text: str) -> tuple[int, ...]:
    sizes = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(sizes) > 2 or not all(size.isdigit() and 1 <= int(size) <= 1024 for size in sizes):
        raise HandrailError(f"--hidden {text!r}: give one or two layer sizes from 1 to 1024, as in 8 or 8,4")
    return tuple(int(size) for size in sizes)


def _command(values: dict[str, Any]) -> str:
    """The command that gives the same policy: base names for paths, and only what is not the default."""
    words = ["handrail", "train", "--trace", Path(values["trace"]).name, "--algo", values["algo"]]
    for item in values["map_"] or []:
        words += ["--map", item]
    used = {"cem": ("iterations", "population", "elites", "windows", "per_iteration", "window_requests")}
    names = ["window", "rate", "load", "load_by", "replicas", "preset", "telemetry_delay", "fallback", "slo_ttft"]
    names += ["slo_tbt", "seed", "failures", "hidden", *used.get(values["algo"], ("steps",))]
    for name in names:
        if values[name] not in (None, ""):
            words += [f"--{name.replace('_', '-')}", str(values[name])]
    return " ".join([*words, *(["--sort"] if values["sort"] else []), "--out", "DIR"])


def _check_policy_folder(out: Path) -> None:
    """Refuse, before any work, a path that a policy folder must not take.

    Raises:
        HandrailError: It is a file, holds something else than a policy or its training, or cannot be written.
    """
    from ..report.run_folder import check_writable

    if out.exists():
        if not out.is_dir():
            raise HandrailError(f"--out {out}: is a file; name a folder")
        known = {"policy.json", "policy.safetensors", "guard.json", "training"}
        foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in known)
        if foreign:
            raise HandrailError(f"--out {out}: the folder holds {foreign[0]!r}, which is no policy's; choose another")
    check_writable(out)
