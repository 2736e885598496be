"""AMP: how much to prefetch and when, adapted for each stream.

Gill & Bathen, "AMP: Adaptive Multi-stream Prefetching in a Shared Cache", USENIX FAST 2007.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .base import Prefetcher
from .streams import Stream, StreamTable


class AdaptiveStream(Stream):
    """A stream with its degree of prefetch and its trigger.

    Attributes:
        prefetch: Ids of the next set (the paper's p); 0 before the first one.
        trigger: Distance of the trigger from the end of a set (the paper's g).
        end: Last id of the set fetched last.
        tag: The id whose access fetches the next set; -1 where only a miss does.
    """

    __slots__ = ("end", "prefetch", "tag", "trigger")

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.prefetch = self.trigger = 0
        self.end = self.tag = -1


class Amp(Prefetcher):
    """Sets of p ids a stream, the next set fetched g ids before the last one is used up; p and g are the stream's own.

    p grows by one when the last id of a set is hit, and shrinks by one when it is evicted without having been used: the
    set had been too long for the time that the cache keeps it. g grows by one when an access has to wait for the first
    id of a set, and shrinks with p, of which it is always less. While p is at most ``threshold`` sets are fetched on
    misses alone. Not demand driven: it learns from late hits and evictions.

    The paper keeps p and g in the metadata of pages; here they belong to the stream (`StreamTable`), and sets move in
    its steps. The paper gives an unused last page a second round in the cache before it gives it up; what is evicted is
    not a prefetcher's to say here. Between triggers what is left of the set is suggested again, as the caller may have
    been off.

    Args:
        degree: Largest p, and most suggestions at an access.
        initial: p of a new stream.
        threshold: Largest p without a trigger (the paper's APT); a trigger starts at half of it.
        watched: Sets whose ends are remembered.
        region_bits, regions, streams: As in `StreamTable`.
    """

    name = "amp"
    demand_driven = False

    def __init__(
        self,
        degree: int,
        initial: int = 4,
        threshold: int = 4,
        watched: int = 1024,
        region_bits: int = 12,
        regions: int = 1024,
        streams: int = 128,
    ) -> None:
        super().__init__(degree)
        self.initial = min(initial, degree)
        self.threshold = threshold
        self.watched = watched
        self._table = StreamTable(AdaptiveStream, region_bits, regions, streams)
        self._firsts: OrderedDict[int, AdaptiveStream] = OrderedDict()
        self._lasts: OrderedDict[int, AdaptiveStream] = OrderedDict()
        self._waited_for = -1

    def note_used(self, key: int, late: bool) -> None:
        if not late:
            return
        self._waited_for = key
        stream = self._firsts.pop(key, None)
        if stream is not None:
            stream.trigger = min(stream.trigger + 1, stream.prefetch - 1)

    def note_evicted(self, key: int) -> None:
        stream = self._lasts.pop(key, None)
        if stream is not None:
            stream.prefetch = max(stream.prefetch - 1, 1)
            stream.trigger = min(stream.trigger, stream.prefetch - 1)

    def access(self, key: int, hit: bool) -> Sequence[int]:
        stream = self._table.take(key)
        if stream is None:
            return ()
        self._firsts.pop(key, None)
        if self._lasts.pop(key, None) is stream and (hit or key == self._waited_for):
            stream.prefetch = min(stream.prefetch + 1, self.degree)
        step = stream.step
        if stream.prefetch == 0:
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

    def _set(self, stream: AdaptiveStream, start: int) -> Sequence[int]:
        """The stream's next set, from ``start`` on."""
        step = stream.step
        stream.end = start + step * (stream.prefetch - 1)
        stream.tag = stream.end - step * stream.trigger if stream.prefetch > self.threshold else -1
        self._watch(self._firsts, start, stream)
        self._watch(self._lasts, stream.end, stream)
        return _without_negative(range(start, stream.end + step, step))

    def _watch(self, ends: OrderedDict[int, AdaptiveStream], key: int, stream: AdaptiveStream) -> None:
        ends.pop(key, None)
        if len(ends) >= self.watched:
            ends.popitem(last=False)
        ends[key] = stream


def _without_negative(ahead: range) -> Sequence[int]:
    return ahead if ahead.step > 0 or not ahead or ahead[-1] >= 0 else [one for one in ahead if one >= 0]
