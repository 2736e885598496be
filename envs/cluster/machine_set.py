"""Sets of machine numbers as bit sets in blocks: a change, or the lowest member, costs the same in sets of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SHIFT = 11
BLOCK = 1 << SHIFT
"""Machines of a block: few enough that a whole block costs about as much as one bit."""
_BITS = [1 << position for position in range(BLOCK)]


class MachineSet:
    """Machines out of ``0 ... machines - 1``, none at first.

    Attributes:
        blocks: Bit sets of :data:`BLOCK` machines each.
        count: Members.
    """

    __slots__ = ("_filled", "blocks", "count")

    def __init__(self, machines: int) -> None:
        self.blocks = [0] * -(-machines // BLOCK)
        self.count = 0
        self._filled = 0  # blocks that are not empty, as a bit set

    def fork(self) -> MachineSet:
        """An independent set of the same machines."""
        twin = MachineSet(0)
        twin.blocks = self.blocks.copy()
        twin.count = self.count
        twin._filled = self._filled
        return twin

    def add(self, machine: int) -> None:
        """Take in a machine that is not a member."""
        block = machine >> SHIFT
        self.blocks[block] |= _BITS[machine & BLOCK - 1]
        self._filled |= 1 << block
        self.count += 1

    def remove(self, machine: int) -> None:
        """Let go of a member."""
        block = machine >> SHIFT
        left = self.blocks[block] = self.blocks[block] ^ _BITS[machine & BLOCK - 1]
        if not left:
            self._filled ^= 1 << block
        self.count -= 1

    def lowest(self) -> int:
        """The lowest member; there is one."""
        filled = self._filled
        block = (filled & -filled).bit_length() - 1
        members = self.blocks[block]
        return (block << SHIFT) + (members & -members).bit_length() - 1

    def __iter__(self) -> Iterator[int]:
        """Members, rising; the set must not change meanwhile."""
        for block, members in enumerate(self.blocks):
            while members:
                lowest = members & -members
                members ^= lowest
                yield (block << SHIFT) + lowest.bit_length() - 1


def nth_of(sets: Sequence[MachineSet], n: int) -> int:
    """The n-th machine, from 0, of sets that have no member in common."""
    for block, parts in enumerate(zip(*(members.blocks for members in sets), strict=True)):
        union = sum(parts)
        count = union.bit_count()
        if n < count:
            return (block << SHIFT) + nth_bit(union, n)
        n -= count
    raise IndexError("the sets have fewer machines")


def nth_bit(mask: int, n: int) -> int:
    """Position of the n-th set bit, from 0 and from below."""
    position = 0
    width = mask.bit_length()
    while width > 1:
        half = width >> 1
        below = mask & ((1 << half) - 1)
        count = below.bit_count()
        if n < count:
            mask, width = below, half
        else:
            n -= count
            mask >>= half
            position += half
            width -= half
    return position
