"""``handrail study``: studies over a matrix of replays."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .output import print_json, stdout_console

if TYPE_CHECKING:
    from ..study.runner import Progress

app = typer.Typer(help="Studies over a matrix of replays.", no_args_is_help=True)

DEFAULT_WORKERS = 2
SAY_EVERY_S = 5.0


@app.callback()
def _study() -> None:
    pass


@app.command("guard")
def guard(
    quick: Annotated[bool, typer.Option("--quick", help="The small matrix, under 40 minutes on two cores.")] = False,
    config: Annotated[Path | None, typer.Option(help="Study config in YAML.", metavar="FILE")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the traces; by default $HANDRAIL_DATA or ../shared.", metavar="DIR")
    ] = None,
    only: Annotated[str | None, typer.Option(help="One domain alone.", metavar="llm|cluster|prefetch")] = None,
    workers: options.Workers = DEFAULT_WORKERS,
    out: Annotated[
        Path | None, typer.Option(help="Study folder, where it also goes on; by default under runs/.", metavar="DIR")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Replay nothing; report what is there.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run the matrix of guarded policies and print the bar; report.md, study.json and figures go to the study folder.

    A study that was interrupted goes on where it stopped. Traces that are not there are left out and named.
    """
    began = time.perf_counter()
    from ...traces.errors import HandrailError
    from ..study.config import StudyConfig, bundled_config
    from ..study.guard_study import check_folder, evaluate_study, write_files
    from ..study.realise import data_folder
    from ..study.runner import available, make_bench, run_study

    if quick and config is not None:
        raise HandrailError("--quick and --config both name a matrix; give one of them")
    chosen = (
        StudyConfig.from_file(config)
        if config is not None
        else bundled_config("guard_study_quick" if quick else "guard_study_full")
    )
    if only is not None and only not in chosen.domains:
        raise HandrailError(f"--only {only!r}: the study has {', '.join(chosen.domains)}")
    folder = out if out is not None else Path("runs") / f"guard-study-{chosen.name}"
    if report_only and not folder.is_dir():
        raise HandrailError(f"--report-only: there is no study folder {folder}; name it with --out")
    check_folder(folder)
    kept, remarks = available(chosen, data_folder(data), only)
    told = _Line(quiet or json)
    bench = make_bench(kept, data_folder(data), folder, report_only)
    made = 0 if report_only else run_study(bench, min(workers, os.cpu_count() or 1), told.progress)
    command = ["handrail", "study", "guard", *(["--quick"] if quick else [])]
    command += ["--config", config.name] if config is not None else []
    command += ["--only", only] if only is not None else []
    content, files = evaluate_study(bench, command, remarks, told.say)
    write_files(folder, files)
    told.end()
    wall_s = time.perf_counter() - began
    if json:
        print_json({**content, "replays": made, "wall_s": wall_s, "out": str(folder)})
        return
    console = stdout_console()
    for remark in remarks:
        console.print(f"note: {remark}", soft_wrap=True, markup=False)
    for domain, found in content["domains"].items():
        console.print(f"{domain}: {found['cells']} cells, {found['held']} loaded ones held to the bar")
        for clause in found["bar"]:
            console.print(
                f"  {clause['verdict']:>10}  {clause['name']}: {clause['numbers']}", markup=False, soft_wrap=True
            )
    console.print(f"report: {folder / 'report.md'}", soft_wrap=True)
    console.print(f"{made:,} replays, took {wall_s:.0f} s")


class _Line:
    """One line of progress on stderr: rewritten on a terminal, now and then a new one elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._rewrites = sys.stderr.isatty()
        self._said = 0.0
        self._width = 0

    def progress(self, progress: Progress) -> None:
        """Show how far a step is."""
        now = time.monotonic()
        if progress.done < progress.total and now - self._said < (0.2 if self._rewrites else SAY_EVERY_S):
            return
        self._said = now
        self.say(progress.line())

    def say(self, text: str) -> None:
        """Show what is going on."""
        if self._quiet:
            return
        if self._rewrites:
            print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._rewrites and not self._quiet and self._width:
            print(file=sys.stderr)
