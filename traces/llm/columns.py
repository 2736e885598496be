"""From checked columns in file order to a ``RequestTrace``: order, failed requests, lost prompt lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.source import Source
from ..errors import TraceError
from .failures import handle_failures
from .request_trace import RequestTrace


@dataclass(frozen=True)
class ReadOptions:
    """What the reader of each format is told.

    Attributes:
        failures: ``drop``, ``keep`` or ``retry``.
        spread_seed: Seed of the spreading of coarse stamps (and of retries); ``None`` leaves stamps as they are.
        sort: Sort requests by time instead of refusing a file whose stamps go back.
    """

    failures: str
    spread_seed: int | None
    sort: bool

    def generator(self, stream: int) -> np.random.Generator:
        """One independent stream: 0 spreads stamps, 1 draws retries."""
        return np.random.default_rng(np.random.SeedSequence([self.spread_seed or 0, stream]))


def assemble(
    source: Source,
    options: ReadOptions,
    *,
    arrival_s: NDArray[np.float64],
    prompt_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    notes: dict[str, Any],
    **optional: Any,
) -> RequestTrace:
    """The trace; ``arrival_s`` in order of time, every other column in file order, to be put in ``order``.

    A prompt length of 0 (lost by the recording, mostly of failed requests) is raised to 1 and counted in the notes.
    """
    n = len(arrival_s)
    prompt_known = (prompt_tokens if order is None else prompt_tokens[order]) > 0
    seed = int(options.generator(1).integers(2**63))
    try:
        trace = RequestTrace(
            arrival_s=arrival_s if order is None else np.zeros(n),
            prompt_tokens=np.maximum(prompt_tokens, 1),
            output_tokens=output_tokens,
            name=Path(source.name).name,
            notes={},
            **optional,
        )
        if order is not None:
            trace = trace.take(order, arrival_s)
        lost = int((~prompt_known & (trace.output_tokens > 0)).sum())
        notes = {"rows": n, **notes, **({"prompts_raised_to_1": lost} if lost else {})}
        return handle_failures(trace.replace(notes=notes), prompt_known, options.failures, seed)
    except TraceError as error:
        raise source.error(str(error)) from None
