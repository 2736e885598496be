"""The KV blocks of one replica: a free list in LRU order, and blocks that are found again by content.

The rules are vLLM v1's: blocks are keyed by the hash of everything before them, reference counted, and on release go to
the tail of a free list, a request's last block first; a free block keeps its content until it is taken from the head.
A prompt of 126,000 tokens has 7,900 blocks, so runs of consecutive blocks with the same holders are kept as one
`Extent`; a content key names a chunk of blocks (a trace's prefix block, or a request's own tokens).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class Extent:
    """Consecutive KV blocks ``start ... start + length`` of one chunk, held by ``refs`` requests.

    ``key`` is the chunk's content key, or ``None`` where the content can never be found again.
    """

    __slots__ = ("key", "length", "refs", "start")

    def __init__(self, key: int | None, start: int, length: int, refs: int) -> None:
        self.key = key
        self.start = start
        self.length = length
        self.refs = refs


class KVCache:
    """Block accounting. Every count is in blocks.

    Blocks that are taken are popped from the free list late: pops come from the head and releases go to the tail, so
    their order does not matter until somebody looks for content.

    Attributes:
        total, free: All blocks, and those on the free list.
        debt: Blocks that are taken (``free`` is less by them) and not yet popped.
    """

    __slots__ = ("_anonymous", "_chunks", "_free_list", "debt", "free", "total")

    def __init__(self, total_blocks: int) -> None:
        self.total = total_blocks
        self.free = total_blocks
        self.debt = 0
        self._anonymous = total_blocks  # blocks at the tail of the free list whose content is nobody's
        self._free_list: OrderedDict[Extent, None] = OrderedDict()  # head first
        self._chunks: dict[int, list[Extent]] = {}  # content key -> extents in order of start

    def take(self, blocks: int) -> None:
        """Take blocks from the head of the free list; the caller has seen that ``free`` suffices."""
        self.free -= blocks
        self.debt += blocks

    def release_anonymous(self, blocks: int) -> None:
        """Put blocks with content that nobody will look for on the tail of the free list."""
        self.free += blocks
        self._anonymous += blocks

    def find(self, keys: list[tuple[int, int]], limit: int) -> list[tuple[Extent, int]]:
        """Longest cached run of blocks at the start of a sequence.

        Args:
            keys: (content key, full blocks of that chunk) in the sequence's order.
            limit: No more than this many blocks.

        Returns:
            (extent, blocks used of it), in order.
        """
        if self.debt:
            self._settle()
        found: list[tuple[Extent, int]] = []
        chunks = self._chunks
        for key, full in keys:
            extents = chunks.get(key)
            if extents is None:
                return found
            position = 0
            for extent in extents:
                # The chunk may be longer than this sequence's part of it: what follows there is not this sequence's.
                room = min(limit, full - position)
                if extent.start != position or room <= 0:
                    break
                used = min(extent.length, room)
                found.append((extent, used))
                position += used
                limit -= used
            if position < full:
                return found
        return found

    def hold(self, found: list[tuple[Extent, int]], holders: Iterable[list[Extent]]) -> list[Extent]:
        """Take a reference on what `find` found; ``holders`` are the held lists of every running request."""
        held = []
        for extent, used in found:
            if used < extent.length:
                self._split(extent, used, holders)
            if extent.refs == 0:
                del self._free_list[extent]
                self.free -= extent.length
            extent.refs += 1
            held.append(extent)
        return held

    def fill(self, held: list[Extent], key: int, start: int, stop: int) -> None:
        """Blocks ``start ... stop`` of a chunk, already taken by the holder of ``held``, now have their content.

        Blocks that the cache has already are private duplicates, which nobody finds.
        """
        if self.debt:
            self._settle()  # what is about to be overwritten must leave the cache before it is looked up
        extents = self._chunks.get(key)
        if extents is None:
            extents = self._chunks[key] = []
        position = start
        index = 0
        while position < stop:
            while index < len(extents) and extents[index].start + extents[index].length <= position:
                index += 1
            present = extents[index] if index < len(extents) else None
            if present is not None and present.start <= position:
                until = min(stop, present.start + present.length)
                self._append_private(held, until - position)
            else:
                until = stop if present is None else min(stop, present.start)
                last = held[-1] if held else None
                if last is not None and last.key == key and last.refs == 1 and last.start + last.length == position:
                    last.length += until - position
                else:
                    extent = Extent(key, position, until - position, 1)
                    extents.insert(index, extent)
                    held.append(extent)
            position = until

    def release(self, held: list[Extent], private_tail: int) -> None:
        """Release a request's blocks: those after its extents first, then the extents from the last to the first."""
        free_list = self._free_list
        if private_tail:
            self.free += private_tail
            self._anonymous += private_tail
        for extent in reversed(held):
            extent.refs -= 1
            if extent.refs == 0:
                if extent.key is None:
                    self._anonymous += extent.length
                else:
                    if self._anonymous:
                        self._flush_anonymous()
                    free_list[extent] = None
                self.free += extent.length

    def forget(self, held: list[Extent], own_key: int) -> None:
        """Drop the content of a request's own chunk: the request has ended, nobody will look for it."""
        if self._chunks.pop(own_key, None) is not None:
            for extent in held:
                if extent.key == own_key:
                    extent.key = None

    def cached_blocks(self) -> int:
        """Blocks with content that could be found, held or free (for tests)."""
        if self.debt:
            self._settle()
        return sum(e.length for extents in self._chunks.values() for e in extents)

    def _append_private(self, held: list[Extent], blocks: int) -> None:
        if held and held[-1].key is None:
            held[-1].length += blocks
        else:
            held.append(Extent(None, 0, blocks, 1))

    def _split(self, extent: Extent, at: int, holders: Iterable[list[Extent]]) -> None:
        rest = Extent(extent.key, extent.start + at, extent.length - at, extent.refs)
        extent.length = at
        siblings = self._chunks[extent.key]  # type: ignore[index]
        siblings.insert(siblings.index(extent) + 1, rest)
        if extent.refs == 0:
            # The rest is freed before the start, so it stands right before it in the free list.
            items = list(self._free_list)
            self._free_list.clear()
            for item in items:
                if item is extent:
                    self._free_list[rest] = None
                self._free_list[item] = None
        else:
            for held in holders:
                for i, item in enumerate(held):
                    if item is extent:
                        held.insert(i + 1, rest)
                        break

    def _flush_anonymous(self) -> None:
        if self.debt:
            self._settle()
        if self._anonymous:
            extent = Extent(None, 0, self._anonymous, 0)
            self._anonymous = 0
            self._free_list[extent] = None

    def _settle(self) -> None:
        """Pop what has been taken from the head of the free list."""
        debt = self.debt
        free_list = self._free_list
        while debt and free_list:
            extent = next(iter(free_list))
            popped = extent.length if extent.length <= debt else debt
            debt -= popped
            extent.length -= popped
            if extent.length == 0:
                del free_list[extent]
                if extent.key is not None:
                    siblings = self._chunks.get(extent.key)
                    if siblings is not None:
                        siblings.remove(extent)
                        if not siblings:
                            del self._chunks[extent.key]
        self._anonymous -= debt
        self.debt = 0
