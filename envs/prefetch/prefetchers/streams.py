"""Finds streams of equal steps in interleaved accesses, by nearness alone: what a program counter is to a processor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from copy import copy
from typing import Generic, Self, TypeVar


class Stream:
    """Accesses at equal steps.

    Attributes:
        step: Difference between one id and the next, not 0.
    """

    __slots__ = ("step",)

    def __init__(self, step: int) -> None:
        self.step = step

    def fork(self) -> Self:
        """A stream that goes on alike and apart: itself, as long as nothing of it changes."""
        return self


INITIAL, TRANSIENT, STEADY, NO_PREDICTION = range(4)


S = TypeVar("S", bound=Stream)


class StreamTable(Generic[S]):
    """A reference prediction table (Chen & Baer, IEEE Trans. Computers 1995) whose rows are regions of ids.

    An access that is just what a known stream expects next belongs to that stream, wherever it is. Any other access
    trains its region's row, which holds the region's last id, the last step and one of the paper's four states; two
    equal steps in a row (or one, where the row had been steady before) make a stream. So scattered accesses among the
    streams of a region do not unsettle streams that are known. A repeat of the region's last id changes nothing.

    Args:
        stream: Makes a stream from its step.
        region_bits: A region is ``2 ** region_bits`` ids; a step that crosses into the next region still counts.
        regions, streams: Rows and streams kept; the least recently used leaves.
    """

    def __init__(self, stream: type[S], region_bits: int = 12, regions: int = 1024, streams: int = 128) -> None:
        self.region_bits = region_bits
        self.regions = regions
        self.streams = streams
        self._stream = stream
        self._expected: OrderedDict[int, S] = OrderedDict()
        self._rows: OrderedDict[int, tuple[int, int, int]] = OrderedDict()

    def known(self) -> Iterable[S]:
        """The streams that are followed."""
        return self._expected.values()

    def fork(self) -> StreamTable[S]:
        """A table that goes on alike and apart."""
        fork = copy(self)
        fork._rows = self._rows.copy()
        fork._expected = OrderedDict([(key, stream.fork()) for key, stream in self._expected.items()])
        return fork

    def take(self, key: int) -> S | None:
        """The stream that an access belongs to; None where it belongs to none yet."""
        expected, rows = self._expected, self._rows
        region = key >> self.region_bits
        stream = expected.pop(key, None)
        if stream is not None:
            step = stream.step
            expected[key + step] = stream
            rows.pop(region, None)
            rows[region] = (key, step, STEADY)
            return stream
        row = rows.pop(region, None)
        if row is None:
            row = rows.get(region - 1) or rows.get(region + 1)
            if len(rows) >= self.regions:
                rows.popitem(last=False)
            if row is None or abs(key - row[0]) >> self.region_bits:
                rows[region] = (key, 0, INITIAL)
                return None
        last, step, state = row
        seen = key - last
        if seen == 0:
            rows[region] = row
            return None
        if seen == step:
            if state == NO_PREDICTION:
                rows[region] = (key, step, TRANSIENT)
                return None
            rows[region] = (key, step, STEADY)
            return self._found(key, step)
        if state == STEADY:
            rows[region] = (key, step, INITIAL)
        else:
            rows[region] = (key, seen, TRANSIENT if state == INITIAL else NO_PREDICTION)
        return None

    def _found(self, key: int, step: int) -> S:
        expected = self._expected
        if len(expected) >= self.streams:
            expected.popitem(last=False)
        stream = expected[key + step] = self._stream(step)
        return stream
