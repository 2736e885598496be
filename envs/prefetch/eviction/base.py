"""What every eviction rule is: a cache's contents and the order in which they leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from ....traces import AccessTrace
from ..layers import fork_containers


class EvictionCache(ABC):
    """Contents of a cache of ``capacity`` units (objects, or bytes) under one eviction rule.

    Args:
        capacity: Units that it holds, at least 1.

    Attributes:
        name: The rule's name on the command line.
        needs_rows: Whether `at` must be called before each demand access (rules that know the future).
        used: Units in use.
    """

    name: ClassVar[str]
    needs_rows: ClassVar[bool] = False

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0

    @abstractmethod
    def touch(self, key: int) -> bool:
        """A demand access: whether the object is there; the rule takes note of it either way."""

    @abstractmethod
    def insert(self, key: int, size: int = 1) -> tuple[int, ...]:
        """Put in an object that is not there; return what had to leave, in order.

        What is larger than the whole cache is not admitted: the answer is then ``(key,)`` and nothing else leaves.
        """

    @abstractmethod
    def remove(self, key: int) -> None:
        """Take out an object that is there, without trace."""

    @abstractmethod
    def __contains__(self, key: object) -> bool:
        """Whether the object is there; no access."""

    @abstractmethod
    def __len__(self) -> int:
        """Objects that are there."""

    def at(self, row: int) -> None:  # noqa: B027 (most rules have nothing to do here)
        """The next `touch` or `insert` happens at this row of the trace; only rules with ``needs_rows`` care."""

    def continue_with(self, first_row: int, trace: AccessTrace) -> None:  # noqa: B027
        """From ``first_row`` on the accesses are those of another trace; only rules with ``needs_rows`` care."""

    def fork(self) -> Self:
        """A cache that goes on alike and apart. Containers hold plain numbers; a rule whose containers hold others
        forks those itself."""
        return fork_containers(self)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.fork()
