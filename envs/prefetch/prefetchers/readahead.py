"""Readahead with a growing window, as Linux does it (mm/readahead.c; Fengguang, Xi, Xu, "On the Design of a New Linux
Readahead Framework", ACM SIGOPS Operating Systems Review 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .base import Prefetcher
from .streams import Stream, StreamTable


class Window(Stream):
    """A stream and its readahead window.

    Attributes:
        end: First id behind the window, in the stream's direction; -1 before the first window.
        size: Ids of the window fetched last.
        marker: The id whose access fetches the next window.
    """

    __slots__ = ("end", "marker", "size")

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.end = self.marker = -1
        self.size = 0

    def fork(self) -> Self:
        fork = type(self)(self.step)
        fork.end, fork.size, fork.marker = self.end, self.size, self.marker
        return fork


class Readahead(Prefetcher):
    """Windows a stream, each fetched when the marker in the one before it is reached.

    The first window of a stream has 4 ids (2 where the degree is below 32, but never more than the degree). Each
    further one is 4 times the last while that is below a sixteenth of the degree, then twice the last up to the degree.
    The marker of the first window is its first id, that of every further one its first too: so there is always a window
    under way ahead of the one in use. At the marker the new window is suggested, and at other accesses what is left of
    the windows: the caller may have been off when they were first suggested.

    Linux counts pages of a file and takes a read that starts where the last one ended for sequential. Objects have no
    extent in their ids, so the window moves in the steps of the stream, and it takes two equal steps, not one, to know
    it (`StreamTable`). Linux gives the window up when its reader jumps; here the stream ages out of the table.

    Args:
        degree: Largest window, and most suggestions at an access.
        region_bits, regions, streams: As in `StreamTable`.
    """

    name = "readahead"

    def __init__(self, degree: int, region_bits: int = 12, regions: int = 1024, streams: int = 128) -> None:
        super().__init__(degree)
        self._table = StreamTable(Window, region_bits, regions, streams)
        self._first = min(degree, 4 if degree >= 32 else 2)

    def fork(self) -> Self:
        fork = super().fork()
        fork._table = self._table.fork()
        return fork

    def access(self, key: int, hit: bool) -> Sequence[int]:
        window = self._table.take(key)
        if window is None:
            return ()
        step = window.step
        if window.size == 0:
            window.size = self._first
            window.marker = key + step
            window.end = key + step * (self._first + 1)
            start = window.marker
        elif key == window.marker:
            size = window.size
            window.size = size = min(self.degree, 4 * size if size < self.degree / 16 else 2 * size)
            window.marker = start = window.end
            window.end = start + step * size
        else:
            start = key + step
        ahead = range(start, window.end, step)[: self.degree]
        return ahead if step > 0 or not ahead or ahead[-1] >= 0 else [one for one in ahead if one >= 0]
