"""What the readers of all access formats are told, and from checked columns to an ``AccessTrace``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.columns import Place, check_stamps, time_order
from ..common.source import Source
from ..common.spread import spread_ties
from ..errors import TraceError
from .access_trace import AccessTrace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


PERMUTED = "permuted_by_seed"
"""Note of a trace whose ids are numbered in an order that tells nothing: the seed of that order."""

PERMUTED_BLOCKS = "blocks_permuted_by_seed"
"""The same where only blocks are numbered so: the segments of one block are neighbours still."""


@dataclass(frozen=True)
class ReadOptions:
    """What the reader of each format is told.

    Attributes:
        sort: Sort accesses by time instead of refusing a file whose stamps go back.
        permute: Renumber ids in an order that tells nothing; ``None`` leaves that to the format.
        block_bytes: Bytes that a request of a block format is split by; ``None``: the format's own.
        spread: Spread stamps of coarse clocks over the time that they stand for.
        seed: Of the spreading and of the permutation, which draw from streams of their own.
    """

    sort: bool = False
    permute: bool | None = None
    block_bytes: int | None = None
    spread: bool = True
    seed: int = 0

    def generator(self, stream: int) -> np.random.Generator:
        """One independent stream: 0 spreads stamps, 1 numbers ids."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, stream]))


def whole_second_arrivals(
    stamps: Ints, source: Source, place: Place, field: str, options: ReadOptions
) -> tuple[Floats, Ints | None, dict[str, Any]]:
    """Arrival times of whole-second stamps from the first one on, the order that sorts the rows, and the notes.

    Raises:
        TraceError: Stamps that go back in time (without ``sort``) or that are no seconds.
    """
    check_stamps(stamps.astype(np.float64), source, place, field)
    order = time_order(stamps, source, place, field, sort=options.sort)
    if order is not None:
        stamps = stamps[order]
    stamp_s = (stamps - stamps[0]).astype(np.float64)
    notes: dict[str, Any] = {"origin_s": float(stamps[0])}
    if not options.spread:
        return stamp_s, order, notes
    notes["spread_s"] = 1.0
    return spread_ties(stamp_s, 1.0, options.generator(0)), order, notes


def assemble(
    source: Source, *, arrival_s: Floats, order: Ints | None, notes: dict[str, Any], **columns: Any
) -> AccessTrace:
    """The trace; ``arrival_s`` in order of time, every other column in file order, to be put in ``order``."""
    if order is not None:
        columns.update({name: values[order] for name, values in columns.items() if isinstance(values, np.ndarray)})
    for values in (arrival_s, *columns.values()):
        if isinstance(values, np.ndarray) and values.base is None:
            values.flags.writeable = False  # nobody else has it, so it need not be copied
    name = Path(source.name).name
    try:
        return AccessTrace(arrival_s=arrival_s, name=name, notes={"rows": len(arrival_s), **notes}, **columns)
    except TraceError as error:
        raise source.error(str(error)) from None
