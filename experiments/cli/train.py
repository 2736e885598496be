"""``handrail train``: fit a policy to a trace and write its policy folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...traces.errors import HandrailError
from ..finalists import SEARCH_FLAGS, TrainingOptions, check_given
from . import options
from .grouped import grouped
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ...policies.guards import GuardConfig

DEFAULTS = TrainingOptions()
FIELDS = {"per-iteration": "per_iteration", "window-requests": "window_items"}
"""Fields of the training's options that are not named as on the command line."""


@grouped
def train(
    traffic: options.TrafficOptions,
    out: Annotated[Path, typer.Option(help="Policy folder to write.", metavar="DIR")],
    algo: Annotated[
        str | None,
        typer.Option(
            help="Search on the tail itself (cem), an SB3 algorithm, or a contextual bandit. llm: cem, ppo, dqn, "
            "ppo-lagrangian, bc-residual; cluster: maskable-ppo, cem; prefetch: bandit, ppo, cem; the first is the "
            "default.",
            metavar="cem|ppo|dqn|...",
        ),
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="Heuristic that scores are relative to; by default the domain's.")
    ] = None,
    seed: options.Seed = 0,
    iterations: Annotated[
        int | None, typer.Option(min=1, help=f"cem: iterations; by default {DEFAULTS.iterations}.")
    ] = None,
    population: Annotated[
        int | None, typer.Option(min=3, help=f"cem: candidates an iteration; by default {DEFAULTS.population}.")
    ] = None,
    elites: Annotated[
        int | None,
        typer.Option(min=2, help=f"cem: best candidates that the search follows; by default {DEFAULTS.elites}."),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            help="One or two hidden layers of the scorer; by default none, a linear one. Not for "
            "bandit, and of llm for cem alone.",
            metavar="N[,N]",
        ),
    ] = None,
    windows: Annotated[
        int | None, typer.Option(min=1, help=f"cem: stretches of training traffic; by default {DEFAULTS.windows}.")
    ] = None,
    per_iteration: Annotated[
        int | None,
        typer.Option(min=1, help=f"cem: stretches that an iteration replays; by default {DEFAULTS.per_iteration}."),
    ] = None,
    window_requests: Annotated[
        int | None,
        typer.Option(
            min=100,
            help=f"cem: longest stretch, in requests (jobs, accesses); by default {DEFAULTS.window_items:,}.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Environment steps, of all but cem; by default {DEFAULTS.steps:,}. They are rounded up to whole "
            "rollouts: of 4,096 steps for ppo (llm), ppo-lagrangian, bc-residual and maskable-ppo, 512 a tenant for "
            "ppo (prefetch), 8 for dqn; bandit: decisions, rounded up to whole replays.",
        ),
    ] = None,
    guarded: Annotated[
        bool, typer.Option("--guarded", help="Train, select and report behind the domain's guard.")
    ] = False,
    guard: Annotated[
        Path | None,
        typer.Option(help="With --guarded, a guard in YAML or JSON in place of the domain's.", metavar="FILE"),
    ] = None,
    learn_from: Annotated[
        str | None,
        typer.Option(
            help="With --guarded, the action that is learned from; by default executed for dqn, else proposed.",
            metavar="proposed|executed",
        ),
    ] = None,
    violation_limit: Annotated[
        float | None,
        typer.Option(
            help="ppo-lagrangian: share of missed objectives to keep below; by default the fallback's own.",
            metavar="SHARE",
        ),
    ] = None,
    workers: options.Workers = 2,
    domain: options.Domain = "llm",
    json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    serving: options.LLMOptions,
    cluster: options.ClusterOptions,
    prefetching: options.PrefetchOptions,
) -> None:
    """Train a policy: on the first half of a trace, selected on the next fifth, reported on the rest.

    Without --rate and --load each part of an LLM trace is brought to 0.8 of the fleet's capacity. A search that was
    broken off goes on where it stopped if the same command is given again.
    """
    began = time.perf_counter()
    chosen, own = options.chosen(domain, serving, cluster, prefetching)
    load = options.default_load(chosen, traffic)
    scenario = options.build_scenario(chosen, traffic, own.scenario_fields(), load=load, fallback=fallback, seed=seed)
    own.check()
    options.check_name(traffic.trace)
    algo = chosen.algorithms[0] if algo is None else algo
    if learn_from not in (None, "proposed", "executed"):
        raise HandrailError(f"--learn-from {learn_from!r} is unknown; choose proposed or executed")
    given = {
        "iterations": iterations,
        "population": population,
        "elites": elites,
        "hidden": None if hidden is None else _layers(hidden),
        "windows": windows,
        "per-iteration": per_iteration,
        "window-requests": window_requests,
        "steps": steps,
    }
    given = {flag: value for flag, value in given.items() if value is not None}
    check_given(chosen, algo, given)
    check_policy_folder(out)
    training = TrainingOptions(
        **{FIELDS.get(flag, flag): value for flag, value in given.items()},
        algorithm=algo,
        seed=seed,
        workers=min(workers, os.cpu_count() or 1),
        guarded=guarded,
        guard=_guard_of(guard),
        learn_from=learn_from,
        violation_limit=violation_limit,
    )
    # The command that gives the same policy: base names for paths, and only what is not empty.
    command = ["handrail", "train", *options.domain_words(chosen), "--trace", Path(traffic.trace).name, "--algo", algo]
    command += [*traffic.words(load), *own.train_words(scenario), *(["--hidden", hidden] if hidden else [])]
    for flag in SEARCH_FLAGS if algo == "cem" else ("steps",):
        command += [f"--{flag}", str(getattr(training, FIELDS.get(flag, flag)))]
    command += [*(["--guarded"] if guarded else []), *(["--guard", guard.name] if guard is not None else [])]
    command += [] if learn_from is None else ["--learn-from", learn_from]
    if violation_limit is not None:
        command += ["--violation-limit", f"{violation_limit:g}"]
    command += [*(["--sort"] if traffic.sort else []), "--out", "DIR"]
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        from ..training import train_policy

        report = train_policy(
            loaded,
            scenario,
            training,
            out,
            command=" ".join(command),
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
    console.print(training_table(report, chosen))
    console.print(f"policy folder: {out}", soft_wrap=True)
    console.print(f"took {wall_s:.1f} s")


def _guard_of(file: Path | None) -> GuardConfig | None:
    if file is None:
        return None
    from ...policies.guards import load_guard

    return load_guard(file)


def _layers(text: str) -> tuple[int, ...]:
    sizes = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(sizes) > 2 or not all(size.isdigit() and 1 <= int(size) <= 1024 for size in sizes):
        raise HandrailError(f"--hidden {text!r}: give one or two layer sizes from 1 to 1024, as in 8 or 8,4")
    return tuple(int(size) for size in sizes)


def check_policy_folder(out: Path) -> None:
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
