"""The KV blocks of one replica: a free list in LRU order, and blocks that are found again by content.

The rules are vLLM v1's: blocks are keyed by the hash of everything before them, reference counted, and on release go to
the tail of a free list, a request's last block first; a free block keeps its content until it is taken from the head.
A prompt of 126,000 tokens has 7,900 blocks, so runs of consecutive blocks with the same holders are kept as one
extent; a content key names a chunk of blocks (a trace's prefix block, or a request's own tokens). An extent is a
number, and what is known of it stands in lists: a full cache has thousands, and a forked simulator copies them all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class KVCache:
    """Block accounting. Every count is in blocks.

    Blocks that are taken are popped from the free list late: pops come from the head and releases go to the tail, so
    their order does not matter until somebody looks for content.

    Extent e is the blocks ``start[e] ... start[e] + length[e]`` of one chunk.

    Attributes:
        total, free: All blocks, and those on the free list.
        debt: Blocks that are taken (``free`` is less by them) and not yet popped.
        length: Blocks of each extent.
        refs: How many requests hold each extent.
    """

    __slots__ = (
        "_anonymous",
        "_chunks",
        "_free_list",
        "_key",
        "_spare",
        "_start",
        "debt",
        "free",
        "length",
        "refs",
        "total",
    )

    def __init__(self, total_blocks: int) -> None:
        self.total = total_blocks
        self.free = total_blocks
        self.debt = 0
        self._anonymous = total_blocks  # blocks at the tail of the free list whose content is nobody's
        self._free_list: OrderedDict[int, None] = OrderedDict()  # extents, head first
        self._chunks: dict[int, tuple[int, ...]] = {}  # content key -> extents in order of start
        self._key: list[int | None] = []  # content key of each extent; None where it can never be found again
        self._start: list[int] = []
        self.length: list[int] = []
        self.refs: list[int] = []
        self._spare: list[int] = []  # numbers of extents that are no more

    def fork(self) -> KVCache:
        """A copy that goes its own way; the extents keep their numbers, so what requests hold stays right."""
        twin = KVCache(self.total)
        for name in ("_free_list", "_chunks", "_key", "_start", "length", "refs", "_spare"):
            setattr(twin, name, getattr(self, name).copy())
        twin.free, twin.debt, twin._anonymous = self.free, self.debt, self._anonymous
        return twin

    def blocks_of(self, held: list[int]) -> int:
        """Blocks of these extents together."""
        length = self.length
        return sum([length[extent] for extent in held])

    def take(self, blocks: int) -> None:
        """Take blocks from the head of the free list; the caller has seen that ``free`` suffices."""
        self.free -= blocks
        self.debt += blocks

    def release_anonymous(self, blocks: int) -> None:
        """Put blocks with content that nobody will look for on the tail of the free list."""
        self.free += blocks
        self._anonymous += blocks

    def find(self, keys: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
        """Longest cached run of blocks at the start of a sequence.

        Args:
            keys: (content key, full blocks of that chunk) in the sequence's order.
            limit: No more than this many blocks.

        Returns:
            (extent, blocks used of it), in order.
        """
        if self.debt:
            self._settle()
        found: list[tuple[int, int]] = []
        chunks, starts, length = self._chunks, self._start, self.length
        for key, full in keys:
            extents = chunks.get(key)
            if extents is None:
                return found
            position = 0
            for extent in extents:
                # The chunk may be longer than this sequence's part of it: what follows there is not this sequence's.
                room = min(limit, full - position)
                if starts[extent] != position or room <= 0:
                    break
                used = min(length[extent], room)
                found.append((extent, used))
                position += used
                limit -= used
            if position < full:
                return found
        return found

    def hold(self, found: list[tuple[int, int]], holders: Iterable[list[int]]) -> list[int]:
        """Take a reference on what `find` found; ``holders`` are the held lists of every running request."""
        held = []
        for extent, used in found:
            if used < self.length[extent]:
                self._split(extent, used, holders)
            if self.refs[extent] == 0:
                del self._free_list[extent]
                self.free -= self.length[extent]
            self.refs[extent] += 1
            held.append(extent)
        return held

    def fill(self, held: list[int], key: int, start: int, stop: int) -> None:
        """Blocks ``start ... stop`` of a chunk, already taken by the holder of ``held``, now have their content.

        Blocks that the cache has already are private duplicates, which nobody finds.
        """
        if self.debt:
            self._settle()  # what is about to be overwritten must leave the cache before it is looked up
        starts, length = self._start, self.length
        extents = self._chunks.get(key, ())
        position = start
        index = 0
        while position < stop:
            while index < len(extents) and starts[extents[index]] + length[extents[index]] <= position:
                index += 1
            present = extents[index] if index < len(extents) else None
            if present is not None and starts[present] <= position:
                until = min(stop, starts[present] + length[present])
                self._append_private(held, until - position)
            else:
                until = stop if present is None else min(stop, starts[present])
                last = held[-1] if held else None
                if (
                    last is not None
                    and self._key[last] == key
                    and self.refs[last] == 1
                    and starts[last] + length[last] == position
                ):
                    length[last] += until - position
                else:
                    extent = self._extent(key, position, until - position, 1)
                    extents = (*extents[:index], extent, *extents[index:])
                    self._chunks[key] = extents
                    held.append(extent)
            position = until

    def release(self, held: list[int], private_tail: int) -> None:
        """Release a request's blocks: those after its extents first, then the extents from the last to the first."""
        free_list = self._free_list
        refs, length = self.refs, self.length
        if private_tail:
            self.free += private_tail
            self._anonymous += private_tail
        for extent in reversed(held):
            refs[extent] -= 1
            if refs[extent] == 0:
                self.free += length[extent]
                if self._key[extent] is None:
                    self._anonymous += length[extent]
                    self._spare.append(extent)
                else:
                    if self._anonymous:
                        self._flush_anonymous()
                    free_list[extent] = None

    def forget(self, held: list[int], own_key: int) -> None:
        """Drop the content of a request's own chunk: the request has ended, nobody will look for it."""
        if self._chunks.pop(own_key, None) is not None:
            for extent in held:
                if self._key[extent] == own_key:
                    self._key[extent] = None

    def cached_blocks(self) -> int:
        """Blocks with content that could be found, held or free (for tests)."""
        if self.debt:
            self._settle()
        return sum(self.length[extent] for extents in self._chunks.values() for extent in extents)

    def _extent(self, key: int | None, start: int, length: int, refs: int) -> int:
        if self._spare:
            extent = self._spare.pop()
            self._key[extent], self._start[extent] = key, start
            self.length[extent], self.refs[extent] = length, refs
            return extent
        self._key.append(key)
        self._start.append(start)
        self.length.append(length)
        self.refs.append(refs)
        return len(self._key) - 1

    def _append_private(self, held: list[int], blocks: int) -> None:
        if held and self._key[held[-1]] is None:
            self.length[held[-1]] += blocks
        else:
            held.append(self._extent(None, 0, blocks, 1))

    def _split(self, extent: int, at: int, holders: Iterable[list[int]]) -> None:
        key = self._key[extent]
        assert key is not None
        rest = self._extent(key, self._start[extent] + at, self.length[extent] - at, self.refs[extent])
        self.length[extent] = at
        siblings = self._chunks[key]
        after = siblings.index(extent) + 1
        self._chunks[key] = (*siblings[:after], rest, *siblings[after:])
        if self.refs[extent] == 0:
            # The rest is freed before the start, so it stands right before it in the free list.
            items = list(self._free_list)
            self._free_list.clear()
            for item in items:
                if item == extent:
                    self._free_list[rest] = None
                self._free_list[item] = None
        else:
            for held in holders:
                for i, item in enumerate(held):
                    if item == extent:
                        held.insert(i + 1, rest)
                        break

    def _flush_anonymous(self) -> None:
        if self.debt:
            self._settle()
        if self._anonymous:
            extent = self._extent(None, 0, self._anonymous, 0)
            self._anonymous = 0
            self._free_list[extent] = None

    def _settle(self) -> None:
        """Pop what has been taken from the head of the free list."""
        debt = self.debt
        free_list, length = self._free_list, self.length
        while debt and free_list:
            extent = next(iter(free_list))
            popped = length[extent] if length[extent] <= debt else debt
            debt -= popped
            length[extent] -= popped
            if length[extent] == 0:
                del free_list[extent]
                self._spare.append(extent)
                key = self._key[extent]
                siblings = self._chunks.get(key) if key is not None else None
                if siblings is not None:
                    left = tuple([sibling for sibling in siblings if sibling != extent])
                    if left:
                        self._chunks[key] = left  # type: ignore[index]
                    else:
                        del self._chunks[key]  # type: ignore[arg-type]
        self._anonymous -= debt
        self.debt = 0
