"""``handrail guard``: what a guard did in a run, decision by decision, and what a guard is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ...traces.errors import HandrailError
from . import options
from .options import Domain, Json
from .output import print_json, stdout_console

app = typer.Typer(help="Guards: what they did in a run, and what they are.", no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="Run folder of handrail compare.", metavar="RUN")]
COLUMNS = ("decision", "now_s", "item", "state", "stage", "proposed", "fallback", "executed", "who", "check", "reason")


@app.command("explain")
def explain(
    run: Run,
    at: Annotated[float, typer.Option("--at", help="Simulated time, in seconds.", metavar="T")],
    json: Json = False,
) -> None:
    """Tell the story of one moment: the decision at or before a simulated time, and what came of it."""
    from ..decision_log import read_decisions
    from ..decision_story import story_at, story_lines
    from ..domains import domain_named

    log = read_decisions(run)
    story = story_at(log, at)
    if json:
        print_json(story)
        return
    console = stdout_console()
    for line in story_lines(story, domain_named(log.about["domain"]).item):
        console.print(line, soft_wrap=True, markup=False)


@app.command("log")
def show_log(
    run: Run,
    since: Annotated[float | None, typer.Option("--from", help="From this simulated time on.", metavar="T")] = None,
    until: Annotated[float | None, typer.Option("--to", help="Up to and with this one.", metavar="T")] = None,
    who: Annotated[str | None, typer.Option(help="Who was obeyed.", metavar="learned|fallback|last-rung")] = None,
    check: Annotated[
        str | None,
        typer.Option(help="A check that ran; --verdict and --reason are then its own, else what decided."),
    ] = None,
    verdict: Annotated[str | None, typer.Option(help="What it said.", metavar="accept|veto|trip")] = None,
    reason: Annotated[str | None, typer.Option(help="Its reason code.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show so many; by default 50 in the table and all elsewhere.", metavar="N")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write them to a CSV file instead.", metavar="PATH")] = None,
) -> None:
    """List the decisions of a guarded run that fit all that is given."""
    from ..decision_log import find, read_decisions

    if json and csv is not None:
        raise HandrailError("--json and --csv both say where the decisions go; give one")
    log = read_decisions(run)
    found = find(log, since_s=since, until_s=until, who=who, check=check, verdict=verdict, reason=reason)
    most = limit if limit is not None or json or csv is not None else 50
    rows = log.rows(found[:most])
    if json:
        print_json({"decisions": len(log.table), "found": len(found), "rows": [_plain(row) for row in rows]})
    elif csv is not None:
        _write_csv(csv, rows)
        stdout_console().print(f"{len(rows)} of {len(found)} decisions written to {csv}", soft_wrap=True)
    else:
        console = stdout_console()
        console.print(_table(COLUMNS, [[_shown(row[name]) for name in COLUMNS] for row in rows]))
        console.print(f"{len(rows)} of {len(found)} found, of {len(log.table)} decisions", soft_wrap=True)


@app.command("show")
def show(
    domain: Domain = "llm",
    guard: Annotated[
        Path | None, typer.Option(help="Guard as YAML or JSON; by default the domain's own.", metavar="FILE")
    ] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="The guard as a YAML file, to be edited.")] = False,
    json: Json = False,
) -> None:
    """Show a guard: its checks in the order in which they run, their costs and thresholds, and its supervisor."""
    from ..guard_sheet import guard_for, guard_sheet

    if json and yaml:
        raise HandrailError("--json and --yaml both say how the guard is shown; give one")
    chosen, system = _bundled_system(domain)
    config = guard_for(chosen, guard, system)
    sheet = guard_sheet(config, chosen.layout(system))
    if yaml:
        print(config.to_yaml(), end="")
    elif json:
        print_json(sheet)
    else:
        rows = [
            [
                one["stage"],
                one["name"],
                f"{one['cost_us']:g}",
                "yes" if one["fault"] else "",
                _settings(one["settings"]),
            ]
            for one in sheet["checks"]
        ]
        console = stdout_console()
        console.print(_table(("stage", "check", "cost, us", "fault", "thresholds"), rows))
        console.print(f"supervisor: {_settings(sheet['supervisor'])}", soft_wrap=True, markup=False)
        console.print(f"charge: {sheet['charge']}; hash: {sheet['guard_hash']}", soft_wrap=True)


def _bundled_system(domain: str) -> tuple[Any, Any]:
    """The domain of that name, and what its bundled trace is replayed on where nothing else is said."""
    chosen, own = options.chosen(domain, options.LLMOptions(), options.ClusterOptions(), options.PrefetchOptions())
    return chosen, chosen.system(chosen.scenario_type(), own.read_trace(options.TrafficOptions()))


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity and no NaN."""
    said = [
        {**one, "evidence": {name: x if math.isfinite(x) else None for name, x in one["evidence"].items()}}
        for one in row["said"]
    ]
    return {**row, "said": said}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv

    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*COLUMNS, "asked", "verdict", "said"])
            for row in rows:
                said = "; ".join(
                    " ".join(
                        [
                            one["check"],
                            one["verdict"],
                            one["reason"],
                            *(f"{k}={v:.6g}" for k, v in one["evidence"].items()),
                        ]
                    )
                    for one in row["said"]
                )
                writer.writerow([*(row[name] for name in COLUMNS), row["asked"], row["verdict"], said])
    except OSError as error:
        raise HandrailError(f"--csv {path}: cannot be written ({error.strerror}); choose another file") from None
