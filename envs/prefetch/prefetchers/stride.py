"""Stride prefetching, per stream.

Chen & Baer, "Effective Hardware-Based Data Prefetching for High-Performance Processors", IEEE Trans. Computers 1995.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .base import Prefetcher
from .streams import Stream, StreamTable


class Stride(Prefetcher):
    """Suggests the next ``degree`` ids of the stream that the access belongs to, a step apart.

    The paper's table has a row a load instruction. There are no instructions here, so a row is a region of ids, and
    streams that are known are followed by the id they expect next (`StreamTable`). The paper prefetches in its states
    initial and transient too; ids without a program counter agree by accident far more often, so only steady rows do.

    Args:
        degree: Most suggestions at an access.
        region_bits, regions, streams: As in `StreamTable`.
    """

    name = "stride"

    def __init__(self, degree: int, region_bits: int = 12, regions: int = 1024, streams: int = 128) -> None:
        super().__init__(degree)
        self._table = StreamTable(Stream, region_bits, regions, streams)

    def fork(self) -> Self:
        fork = super().fork()
        fork._table = self._table.fork()
        return fork

    def access(self, key: int, hit: bool) -> Sequence[int]:
        stream = self._table.take(key)
        if stream is None:
            return ()
        step = stream.step
        ahead = range(key + step, key + step * (self.degree + 1), step)
        return ahead if step > 0 or ahead[-1] >= 0 else [suggested for suggested in ahead if suggested >= 0]
