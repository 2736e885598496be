"""AMP: how much to prefetch and when, adapted for each stream.

Gill & Bathen, "AMP: Adaptive Multi-stream Prefetching in a Shared Cache", USENIX FAST 2007.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

from .base import Prefetcher
from .streams import Stream, StreamTable

_FIRST, _LAST = 1, 2
_NOT_AWAITED = (-1, 0)


class AdaptiveStream(Stream):
    """A stream with its degree of prefetch and its trigger.

    Attributes:
        prefetch: Ids of the next set (the paper's p); 0 before the first one.
        trigger: Distance of the trigger from the end of a set (the paper's g).
        number: Number of the stream; set when its first set is fetched.
        end: Last id of the set fetched last.
        tag: The id whose access fetches the next set; -1 where only a miss does.
    """

    __slots__ = ("end", "number", "prefetch", "tag", "trigger")

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.prefetch = self.trigger = 0
        self.end = self.tag = self.number = -1

    def fork(self) -> Self:
        fork = type(self)(self.step)
        fork.prefetch, fork.trigger, fork.end, fork.tag = self.prefetch, self.trigger, self.end, self.tag
        fork.number = self.number
        return fork


class Amp(Prefetcher):
    """Sets of p ids a stream, the next set fetched g ids before the last one is used up; p and g are the stream's own.

    p grows by one when the last id of a set is hit, and shrinks by one when an id of a set is evicted without having
    been used: the set had been too long for the time that the cache keeps it. g grows by one when an access has to wait
    for the first id of a set, and shrinks by one when p does; it is always less than p. While p is at most
    ``threshold`` sets are fetched on misses alone. Not demand driven: it learns from late hits and evictions.

    Checked against the paper's own description of the algorithm: these rules, APT = 4, a first trigger at APT / 2 from
    the end of a set, p growing by the size of the read (here 1). That g shrinks by just one, that any unused id of a
    set counts, and the bounds (p at least 1, g at least 0 and below p), against the re-implementation in PyMimircache
    (which sets triggers whatever p is, and has no waiting); the figures of the paper were not at hand.

    What differs: the paper keeps p and g in the metadata of pages; here they belong to the stream (`StreamTable`), and
    sets move in its steps. The paper gives an unused page a second round in the cache, shrinks p then, and does not let
    the last page grow p in that round; what is evicted is not a prefetcher's to say here, so p shrinks when it is gone.
    Between triggers what is left of the set is suggested again, as the caller may have been off. The first p is this
    project's (PyMimircache starts with the size of the read), and so is how a stream is found.

    Args:
        degree: Largest p, and most suggestions at an access.
        initial: p of a new stream.
        threshold: Largest p without a trigger (the paper's APT); a trigger starts at half of it.
        watched: Ids of sets, not accessed yet, that are remembered; the oldest leaves.
        region_bits, regions, streams: As in `StreamTable`.
    """

    name = "amp"
    demand_driven = False

    def __init__(
        self,
        degree: int,
        initial: int = 4,
        threshold: int = 4,
        watched: int = 8192,
        region_bits: int = 12,
        regions: int = 1024,
        streams: int = 128,
    ) -> None:
        super().__init__(degree)
        self.initial = min(initial, degree)
        self.threshold = threshold
        self.watched = watched
        self.streams = streams
        self._table = StreamTable(AdaptiveStream, region_bits, regions, streams)
        self._awaited: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """By id: the number of the stream whose set it is of, and its place there."""
        self._numbered: dict[int, AdaptiveStream] = {}
        """By number; what is missing here has left the table, where nothing of it matters any more."""
        self._numbers = 0
        self._waited_for = -1

    def note_used(self, key: int, late: bool) -> None:
        if not late:
            return
        self._waited_for = key
        number, place = self._awaited.get(key, _NOT_AWAITED)
        stream = self._numbered.get(number)
        if stream is not None and place & _FIRST:
            stream.trigger = min(stream.trigger + 1, stream.prefetch - 1)

    def note_evicted(self, key: int) -> None:
        number, _ = self._awaited.pop(key, _NOT_AWAITED)
        stream = self._numbered.get(number)
        if stream is not None:
            stream.prefetch = max(stream.prefetch - 1, 1)
            stream.trigger = max(min(stream.trigger, stream.prefetch) - 1, 0)

    def access(self, key: int, hit: bool) -> Sequence[int]:
        stream = self._table.take(key)
        if stream is None:
            return ()
        owner, place = self._awaited.pop(key, _NOT_AWAITED)
        if owner == stream.number >= 0 and place & _LAST and (hit or key == self._waited_for):
            stream.prefetch = min(stream.prefetch + 1, self.degree)
        step = stream.step
        if stream.prefetch == 0:
            self._number(stream)
            stream.prefetch = self.initial
            stream.trigger = min(self.threshold // 2, stream.prefetch - 1)
            start = key + step
        elif key == stream.tag:
            start = stream.end + step
        elif (stream.end - key) * step > 0:
            return _without_negative(range(key + step, stream.end + step, step)[: self.degree])
        else:
            start = key + step
        return self._set(stream, start)

    def _number(self, stream: AdaptiveStream) -> None:
        """Gives a new stream its number, and forgets those that have left the table where they are many."""
        stream.number = self._numbers
        self._numbers += 1
        self._numbered[stream.number] = stream
        if len(self._numbered) > 2 * self.streams:
            self._numbered = {known.number: known for known in self._table.known()}

    def fork(self) -> Self:
        fork = super().fork()
        fork._table = self._table.fork()
        fork._numbered = {stream.number: stream for stream in fork._table.known()}
        return fork

    def _set(self, stream: AdaptiveStream, start: int) -> Sequence[int]:
        """The stream's next set, from ``start`` on."""
        step = stream.step
        stream.end = start + step * (stream.prefetch - 1)
        stream.tag = stream.end - step * stream.trigger if stream.prefetch > self.threshold else -1
        ids = _without_negative(range(start, stream.end + step, step))
        self._await(stream, ids)
        return ids

    def _await(self, stream: AdaptiveStream, ids: Sequence[int]) -> None:
        """Remembers the ids of a set."""
        awaited = self._awaited
        end = len(ids) - 1
        for at, one in enumerate(ids):
            awaited.pop(one, None)
            awaited[one] = (stream.number, _FIRST * (at == 0) + _LAST * (at == end))
        while len(awaited) > self.watched:
            awaited.popitem(last=False)


def _without_negative(ahead: range) -> Sequence[int]:
    return ahead if ahead.step > 0 or not ahead or ahead[-1] >= 0 else [one for one in ahead if one >= 0]
