"""Where things are written: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


def stdout_console() -> Console:
    """Console for results: as wide as the terminal, or wide enough for the table where it is piped."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def print_json(content: Any) -> None:
    """One JSON object on stdout."""
    print(json.dumps(content, allow_nan=False))


class Remarks:
    """Progress bar and remarks on stderr; silent where ``quiet``."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: TaskID | None = progress.add_task("", total=None) if progress is not None else None

    def say(self, text: str) -> None:
        """Show what is going on."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)

    def progress(self, done: float, total: float) -> None:
        """Show how far it is."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)


@contextmanager
def remarks(quiet: bool) -> Iterator[Remarks]:
    """Remarks that end with the block; silent with ``quiet`` or where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield Remarks(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Remarks(progress)
