"""The KV cache of extents against a pool of single blocks, over random programs of admissions, growth and releases."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import event, given, settings
from hypothesis import strategies as st
from naive_vllm import Block, KVPool

from handrail.envs.llm_serving.kv_cache import KVCache

CHUNK = 4
"""Blocks of a content chunk."""


@dataclass
class Holder:
    """One sequence as both caches see it: its content in blocks, and what it holds of each cache."""

    shared: list[tuple[int, int]]
    own_key: int
    filled: int = 0
    held: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def shared_blocks(self) -> int:
        return sum(full for _, full in self.shared)

    def content(self, index: int) -> tuple[int, int]:
        for key, full in self.shared:
            if index < full:
                return key, index
            index -= full
        return self.own_key, index


class Pair:
    """Both caches, doing the same."""

    def __init__(self, total: int) -> None:
        self.extents = KVCache(total)
        self.pool = KVPool(total)
        self.holders: list[Holder] = []
        self.gone: list[Holder] = []
        self.hits = 0

    def admit(self, holder: Holder, limit: int, new: int) -> None:
        keys = [*holder.shared, (holder.own_key, 1 << 30)]
        found = self.extents.find(keys, limit)
        hits = []
        while len(hits) < limit and (block := self.pool.by_key.get(holder.content(len(hits)))) is not None:
            hits.append(block)
        assert sum(used for _, used in found) == len(hits)
        if new + sum(block.users == 0 for block in hits) > len(self.pool.free):
            return
        self.hits += len(hits)
        for block in hits:
            self.pool.take_hit(block)
        holder.held = self.extents.hold(found, [other.held for other in self.holders])
        holder.blocks = hits
        holder.filled = len(hits)
        self.holders.append(holder)
        self.grow(holder, new)

    def grow(self, holder: Holder, new: int) -> None:
        new = min(new, len(self.pool.free))
        self.extents.take(new)
        holder.blocks.extend(self.pool.take_new() for _ in range(new))
        stop = len(holder.blocks)
        start = holder.filled
        for index in range(start, stop):
            self.pool.publish(holder.blocks[index], holder.content(index))
        while start < stop:
            key, offset = holder.content(start)
            end = start
            while end < stop and holder.content(end)[0] == key:
                end += 1
            self.extents.fill(holder.held, key, offset, offset + end - start)
            start = end
        holder.filled = stop

    def grow_anonymously(self, holder: Holder) -> None:
        """A last block that is not full yet."""
        if self.pool.free:
            self.extents.take(1)
            holder.blocks.append(self.pool.take_new())

    def release(self, holder: Holder) -> None:
        self.holders.remove(holder)
        self.gone.append(holder)
        self.extents.release(holder.held, len(holder.blocks) - self.extents.blocks_of(holder.held))
        self.pool.release(holder.blocks)
        holder.blocks, holder.held, holder.filled = [], [], 0

    def check(self) -> None:
        assert self.extents.free == len(self.pool.free) >= 0
        assert self.extents.cached_blocks() == len(self.pool.by_key)


def shared_content(shape: int) -> list[tuple[int, int]]:
    """One of 24 prefixes in a binary tree of chunks; the last chunk may be a short one, with a key of its own."""
    depth, branch, cut = shape % 3, shape // 3 % 4, shape // 12
    chunks = [(100 * level + (branch >> (2 - level)) + 1, CHUNK) for level in range(depth + 1)]
    return [*chunks, (900 + shape, 2)] if cut else chunks


OPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "readmit", "grow", "start_block", "release"]),
        st.integers(0, 23),
        st.integers(0, 6),
        st.integers(0, 12),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(total=st.integers(4, 40), ops=OPS)
def test_extents_behave_as_single_blocks(total, ops):
    pair = Pair(total)
    for number, (op, shape, size, limit) in enumerate(ops):
        growing = [holder for holder in pair.holders if holder.filled == len(holder.blocks)]
        if op == "admit":
            pair.admit(Holder(shared_content(shape), own_key=10_000 + number), limit, size)
        elif op == "readmit" and pair.gone:
            pair.admit(pair.gone.pop(shape % len(pair.gone)), limit, size)
        elif op == "grow" and growing:
            pair.grow(growing[shape % len(growing)], size)
        elif op == "start_block" and growing:
            pair.grow_anonymously(growing[shape % len(growing)])
        elif op == "release" and pair.holders:
            pair.release(pair.holders[shape % len(pair.holders)])
        if number % 3 == 0:
            pair.check()
    event("hit" if pair.hits else "no hit")
    while pair.holders:
        pair.release(pair.holders[0])
    pair.check()
    assert pair.extents.free == total
