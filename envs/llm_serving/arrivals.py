"""Where requests come from: a trace, or what `hidden.HiddenModel` draws in its place."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...traces import RequestTrace

_BLOCK = 4096  # trace rows turned into Python numbers at a time


class Block(NamedTuple):
    """Requests in a row, one element each: when [s], how long [tokens], and their class (None: all the same)."""

    arrival_s: list[float]
    prompt: list[int]
    output: list[int]
    label: list[int] | None


class Arrivals(Protocol):
    """Requests in the order of their arrival. Never changes: forks share it."""

    def block(self, row: int, after_s: float) -> Block | None:
        """Requests from ``row`` on, the one before having come at ``after_s``; ``None`` if none are left."""
        ...

    def prefix_ids(self, row: int) -> list[int]:
        """The prefix blocks of a request that has come; empty where none are known."""
        ...

    def label(self, row: int) -> int:
        """The class of a request that has come, by which its output length is estimated."""
        ...


class TraceArrivals:
    """The rows of a trace."""

    def __init__(self, trace: RequestTrace) -> None:
        self._trace = trace
        self._labels = _labels(trace)

    def block(self, row: int, after_s: float) -> Block | None:
        """See `Arrivals`."""
        trace, stop = self._trace, row + _BLOCK
        if row >= len(trace):
            return None
        return Block(
            trace.arrival_s[row:stop].tolist(),
            trace.prompt_tokens[row:stop].tolist(),
            trace.output_tokens[row:stop].tolist(),
            None if self._labels is None else self._labels[row:stop].tolist(),
        )

    def prefix_ids(self, row: int) -> list[int]:
        """See `Arrivals`."""
        if self._trace.prefix_blocks is None:
            return []
        offsets, ids = self._trace.prefix_blocks
        return ids[offsets[row] : offsets[row + 1]].tolist()

    def label(self, row: int) -> int:
        """See `Arrivals`."""
        return 0 if self._labels is None else int(self._labels[row])


def _labels(trace: RequestTrace) -> NDArray[np.int64] | None:
    """The class of each request that its output length is estimated by: tenant and model."""
    if trace.tenant is None and trace.model is None:
        return None
    tenant = trace.tenant if trace.tenant is not None else np.zeros(len(trace), dtype=np.int64)
    model = trace.model if trace.model is not None else np.zeros(len(trace), dtype=np.int64)
    return tenant * (int(model.max(initial=0)) + 1) + model
