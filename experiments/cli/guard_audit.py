"""``handrail guard audit``: both choices of sampled decisions of a run played over the same future."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import print_json, remarks, stdout_console

DEFAULT_WORKERS = 2


def audit(
    run: Annotated[Path, typer.Argument(help="Run folder of handrail compare.", metavar="RUN")],
    trace: Annotated[
        str | None, typer.Option(help="The run's trace; by default as named in its command.", metavar="PATH_OR_NAME")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="The run's policy; by default as named in its command.", metavar="DIR_OR_NAME")
    ] = None,
    per_reason: Annotated[int, typer.Option(min=1, help="Most decisions audited for one reason.", metavar="N")] = 100,
    horizon: Annotated[
        float | None,
        typer.Option(help="Seconds to play onward; by default what some hundred arrivals take.", metavar="SECONDS"),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0.0, help="Share of the fallback's cost that counts as a difference.")
    ] = 0.05,
    frontier: Annotated[
        bool, typer.Option("--frontier/--no-frontier", help="Replay the run with other margins, too.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Where audit.json and audit.png go; by default into RUN.", metavar="DIR")
    ] = None,
    seed: options.Seed = 0,
    workers: options.Workers = DEFAULT_WORKERS,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Replay a guarded run, and at a sample of its decisions play the proposal and the fallback's choice onward.

    Says how many interventions were right, which harm was let through, and how tails and gain trade along a sweep of
    the margins. Thresholds belong to validation: sweep a run that was made with --split validation.
    """
    from ...traces.errors import HandrailError

    if not math.isfinite(margin):
        raise HandrailError(f"--margin {margin} is no share of a cost; give a finite number, such as 0.05")
    if horizon is not None and not 0.0 < horizon < float("inf"):
        raise HandrailError(f"--horizon {horizon} is no time to play onward; give a positive number of seconds")
    from ..audit import AuditOptions, audit_run, read_run
    from ..audit.figure import draw_audit
    from ..audit.frontier import sweep_margins
    from ..audit.rerun import rerun_of
    from ..audit.table import audit_table
    from ..domains import domain_named
    from ..report.run_folder import dump_json
    from .command_words import parse_compare

    record = read_run(run)
    words = parse_compare(record.command)
    with remarks(quiet or json) as told:
        told.say("reading the trace")
        loaded = words.read_trace(trace)
        rerun = rerun_of(record, loaded, policy or words.policy(), told.say)
        told.say("auditing")
        report = audit_run(rerun, AuditOptions(per_reason, horizon, margin, seed), told.progress)
        points: list[dict[str, Any]] = []
        if frontier:
            told.say("sweeping the margins")
            swept = sweep_margins(rerun, workers=min(workers, os.cpu_count() or 1), on_progress=told.progress)
            points = [point.to_json() for point in swept]
    domain = domain_named(rerun.prepared.scenario.domain)
    content = {"run": record.content["trace"], "domain": domain.name, **report.summary, "frontier": points}
    folder = out if out is not None else run
    figure = draw_audit(report.summary, points, f"audit of {rerun.policy} on {loaded.name}", domain.report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "audit.json").write_bytes(dump_json(content))
        (folder / "audit.png").write_bytes(figure)
    except OSError as error:
        raise HandrailError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from None
    if json:
        print_json({**content, "out": str(folder)})
        return
    console = stdout_console()
    console.print(audit_table(report.summary, points, domain.report))
    console.print(f"audit: {folder / 'audit.json'}", soft_wrap=True)
    console.print(f"figure: {folder / 'audit.png'}", soft_wrap=True)
