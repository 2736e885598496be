"""``handrail headroom``: how much there is to learn on a trace, and how much of it a policy takes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ...traces.errors import HandrailError
from . import options
from .grouped import grouped
from .output import print_json, remarks, stdout_console

DEFAULT_WORKERS = 2

ANSWERS = (
    ("best_heuristic", "best single heuristic"),
    ("best_heuristic_per_window", "best heuristic of each window"),
    ("placebos_per_window", "  by chance alone: as many placebos"),
    ("searched_on_it", "scorer searched on this stretch"),
    ("lookahead", "lookahead with the truth"),
    ("learned", "learned policy"),
)


@grouped
def headroom(
    traffic: options.TrafficOptions,
    split: options.Split = "test",
    policy: options.Policy = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows with a heuristic each.", metavar="N")] = 6,
    items: Annotated[int, typer.Option(min=100, help="Longest stretch of the trace.", metavar="N")] = 6_000,
    iterations: Annotated[int, typer.Option(min=0, help="Of the search; 0 for none.", metavar="N")] = 6,
    population: Annotated[int, typer.Option(min=4, help="Candidates an iteration.", metavar="N")] = 16,
    lookahead: Annotated[bool, typer.Option("--lookahead/--no-lookahead", help="Look ahead in exact forks.")] = True,
    work: Annotated[
        Path | None, typer.Option(help="Folder where the search can be resumed; by default none.", metavar="DIR")
    ] = None,
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
    """Measure how far a fallback could be improved on a stretch of a trace, by heuristics, by search and by foresight.

    A problem whose headroom is under 5 % is declared not worth learning.
    """
    chosen, own = options.chosen(domain, serving, cluster, prefetching)
    load = options.default_load(chosen, traffic)
    scenario = options.build_scenario(chosen, traffic, own.scenario_fields(), split=split, load=load, seed=seed)
    own.check()
    options.check_name(traffic.trace)
    policy = chosen.default_policy if policy is None else policy
    if windows > items:
        raise HandrailError(f"--windows {windows} is more than --items {items}; take fewer windows, or more items")
    if work is not None:
        _make_folder(work)
    with remarks(quiet or json) as told, tempfile.TemporaryDirectory() as scratch:
        told.say("reading the trace")
        loaded = own.read_trace(traffic)
        from ..headroom import HeadroomOptions, measure_headroom
        from ..scenario import prepare

        prepared = prepare(loaded, scenario, told.say)
        asked = HeadroomOptions(
            windows, items, iterations, population, lookahead, min(workers, os.cpu_count() or 1), seed
        )
        content = measure_headroom(
            prepared,
            policy,
            asked,
            Path(scratch) if work is None else work,
            say=told.say,
            on_progress=told.progress,
        )
    content = {"trace": traffic.base_name, "split": split, **content}
    if json:
        print_json(content)
        return
    console = stdout_console()
    console.print(f"{loaded.name}: {content[chosen.items]:,} {chosen.items}, split {split}, {content['metric']}")
    console.print(_table(content))
    for statistic in ("mean", "p99"):
        console.print(_verdict(statistic, content[statistic]), soft_wrap=True)


def _make_folder(work: Path) -> None:
    """Make the folder of ``--work``, before any replay.

    Raises:
        HandrailError: It cannot be made or written.
    """
    if work.exists() and not work.is_dir():
        raise HandrailError(f"--work {work}: is a file; name a folder")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work):
            pass
    except OSError as error:
        raise HandrailError(f"--work {work}: cannot be written ({error.strerror}); choose another folder") from None


def _table(content: dict[str, Any]) -> Any:
    from rich.table import Table

    from ..report.spec import latency

    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("")
    for statistic in ("mean", "p99"):
        table.add_column(statistic, justify="right")
        table.add_column("/ fallback", justify="right")
    rows = (("fallback", f"fallback: {content['fallback']}"), *ANSWERS)
    for key, label in rows:
        cells: list[str] = []
        for statistic in ("mean", "p99"):
            value, base = content[statistic][key], content[statistic]["fallback"]
            cells += [latency(value), f"{value / base:.3f}" if value is not None and base else "-"]
        table.add_row(label, *cells)
    return table


def _verdict(statistic: str, found: dict[str, Any]) -> str:
    if found["headroom"] is None:
        return f"{statistic}: the fallback's falls among the lost; there is no headroom to speak of"
    worth = "worth learning" if found["worth_learning"] else "not worth learning (under 5 %)"
    # A share of next to nothing is a large number that says nothing.
    taken = found["learned_share"] if found["worth_learning"] else None
    share = "" if taken is None else f"; the learned policy takes {taken:.0%} of it"
    return f"{statistic}: headroom {found['headroom']:.1%}, {worth}{share}"
