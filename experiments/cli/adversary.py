"""``handrail adversary``: search a policy that does the most harm behind a guard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from . import options
from .grouped import grouped
from .output import print_json, remarks, stdout_console
from .train import check_policy_folder


@grouped
def adversary(
    traffic: options.TrafficOptions,
    out: Annotated[Path, typer.Option(help="Policy folder to write.", metavar="DIR")],
    policy: Annotated[
        str | None,
        typer.Option(help="Policy whose guard is attacked; by default the bundled one.", metavar="DIR_OR_NAME"),
    ] = None,
    generations: Annotated[int, typer.Option(min=1, help="Iterations of the search.")] = 6,
    population: Annotated[int, typer.Option(min=3, help="Candidates a generation.")] = 16,
    elites: Annotated[int, typer.Option(min=2, help="Best candidates that the search follows.")] = 4,
    windows: Annotated[int, typer.Option(min=1, help="Stretches of validation traffic.")] = 2,
    window_requests: Annotated[
        int, typer.Option(min=100, help="Longest stretch, in requests (jobs, accesses).")
    ] = 6_000,
    fallback: Annotated[str | None, typer.Option(help="Heuristic behind the guard; by default the domain's.")] = None,
    seed: options.Seed = 0,
    workers: options.Workers = 2,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    serving: options.LLMOptions,
    cluster: options.ClusterOptions,
    prefetching: options.PrefetchOptions,
) -> None:
    """Search a policy against this very guard, thresholds known, on a trace's validation part.

    The ratio found is a lower bound on the worst case at the stated budget. A search that was broken off goes on where
    it stopped if the same command is given again.
    """
    began = time.perf_counter()
    chosen, own = options.chosen(domain, serving, cluster, prefetching)
    load = options.default_load(chosen, traffic)
    scenario = options.build_scenario(chosen, traffic, own.scenario_fields(), load=load, fallback=fallback, seed=seed)
    own.check()
    options.check_name(traffic.trace)
    check_policy_folder(out)
    from ..scenarios.adversary import AdversaryOptions, train_adversary

    how = AdversaryOptions(
        generations=generations,
        population=population,
        elites=elites,
        windows=windows,
        window_items=window_requests,
        seed=seed,
        workers=min(workers, os.cpu_count() or 1),
    )
    attacked = chosen.default_policy if policy is None else policy
    command = ["handrail", "adversary", *options.domain_words(chosen), "--trace", traffic.base_name]
    command += [*traffic.words(load), *own.train_words(scenario)]
    command += ["--policy", options.base_name(attacked), "--generations", str(generations)]
    command += ["--population", str(population), "--elites", str(elites), "--windows", str(windows)]
    command += ["--window-requests", str(window_requests), *(["--sort"] if traffic.sort else []), "--out", "DIR"]
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        report = train_adversary(
            loaded,
            scenario,
            how,
            out,
            guarded_policy=attacked,
            command=" ".join(command),
            say=told.say,
            on_progress=told.progress,
        )
    wall_s = time.perf_counter() - began
    if json:
        print_json({**report.to_json(), "wall_s": wall_s, "out": str(out)})
        return
    console = stdout_console()
    console.print(f"{loaded.name}: {report.replays} guarded replays", soft_wrap=True)
    console.print(
        f"worst guarded tail found: {report.ratio:.3f} of the fallback's (start {report.start_ratio:.3f})",
        soft_wrap=True,
    )
    console.print(f"policy folder: {out}", soft_wrap=True)
    console.print(f"took {wall_s:.1f} s")
