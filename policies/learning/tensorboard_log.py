"""TensorBoard curves of a cross-entropy search; needs the package ``tensorboard``, neither torch nor TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cem import Iteration


class SearchLog:
    """Writes one point a curve after each iteration; silent where ``tensorboard`` is not installed."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def iteration(self, number: int, found: Iteration) -> None:
        """Scores and the mean deviation of iteration ``number``."""
        if self._writer is None:
            return
        curves = {
            "score/mean": found.mean_value,
            "score/elites": found.elite_value,
            "score/best": found.best_value,
            "search/std": sum(found.std) / len(found.std),
        }
        for name, value in curves.items():
            self._writer.add_scalar(name, value, number)


@contextmanager
def search_log(folder: Path) -> Iterator[SearchLog]:
    """A log in ``folder`` that is closed at the end of the block."""
    try:
        summary = importlib.import_module("tensorboard.summary")
    except ImportError:
        yield SearchLog(None)
        return
    folder.mkdir(parents=True, exist_ok=True)
    writer = summary.Writer(str(folder))
    try:
        yield SearchLog(writer)
    finally:
        writer.close()
