"""Containers in layers: a large one is frozen when a simulator forks, and each side notes only what it changes.

Copying an `OrderedDict` of k entries follows its links one by one (1 ms at 10,000 entries, 70 ms at 100,000). Where a
fork goes on for a few hundred accesses, few of its entries change. Small containers are copied outright, and before the
first fork there are no layers at all, so that a plain replay pays nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from copy import copy
from itertools import chain, islice
from typing import Any, Final, TypeVar

COPIED_UP_TO: Final = 2048
"""Containers of so many entries are copied outright."""
MOST_CHANGES: Final = 4096
"""With more changes than these on top of it, a frozen layer is made anew by the next fork."""

_ABSENT: Final = object()
Thing = TypeVar("Thing")


class LayeredQueue:
    """What eviction rules and prefetchers ask of an `OrderedDict`, over a frozen one.

    The order is that of the frozen entries that are still in their places, then that of the entries put in since.

    Args:
        order: The frozen keys in their order.
        values: Their values; never changed.
    """

    __slots__ = ("_changed", "_gone", "_new", "_order", "_passed", "_values")

    def __init__(self, order: list[Any], values: dict[Any, Any]) -> None:
        self._order = order
        self._values = values
        self._passed = 0
        """Frozen keys before this place are gone."""
        self._gone: set[Any] = set()
        self._changed: dict[Any, Any] = {}
        self._new: OrderedDict[Any, Any] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._new or (key in self._values and key not in self._gone)

    def __len__(self) -> int:
        return len(self._values) - len(self._gone) + len(self._new)

    def __iter__(self) -> Iterator[Any]:
        gone = self._gone
        return chain([key for key in islice(self._order, self._passed, None) if key not in gone], self._new)

    def get(self, key: Any, default: Any = None) -> Any:
        found = self._new.get(key, _ABSENT)
        if found is _ABSENT:
            if key in self._gone or key not in self._values:
                return default
            found = self._changed.get(key, _ABSENT)
            return self._values[key] if found is _ABSENT else found
        return found

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self._values and key not in self._gone:
            self._changed[key] = value
        else:
            self._new[key] = value

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        found = self._new.pop(key, _ABSENT)
        if found is not _ABSENT:
            return found
        found = self.get(key, default)
        if found is _ABSENT:
            raise KeyError(key)
        if key in self._values:
            self._gone.add(key)
            self._changed.pop(key, None)
        return found

    def popitem(self, last: bool = False) -> tuple[Any, Any]:
        """Take out the first entry; queues are never shortened at their end."""
        order, gone = self._order, self._gone
        place = self._passed
        while place < len(order) and order[place] in gone:
            place += 1
        self._passed = place
        if place < len(order):
            return order[place], self.pop(order[place])
        return self._new.popitem(last=last)

    def move_to_end(self, key: Any) -> None:
        if key in self._new:
            self._new.move_to_end(key)
        else:
            self._new[key] = self.pop(key)

    def copy(self) -> LayeredQueue:
        """One over the same frozen layer, with changes of its own."""
        twin = LayeredQueue(self._order, self._values)
        twin._passed = self._passed
        twin._gone, twin._changed, twin._new = self._gone.copy(), self._changed.copy(), self._new.copy()
        return twin

    def flattened(self) -> LayeredQueue:
        """One whose frozen layer holds everything."""
        values = dict(self._values)
        for key in self._gone:
            del values[key]
        values.update(self._changed)
        values.update(self._new)
        return LayeredQueue(list(self), values)

    @property
    def changes(self) -> int:
        """Entries noted on top of the frozen layer."""
        return len(self._gone) + len(self._new) + len(self._changed)


class LayeredMap:
    """What is asked of a dictionary that never loses a key, over a frozen one.

    Args:
        values: The frozen entries; never changed.
    """

    __slots__ = ("_new", "_values")

    def __init__(self, values: dict[Any, Any]) -> None:
        self._values = values
        self._new: dict[Any, Any] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._new or key in self._values

    def get(self, key: Any, default: Any = None) -> Any:
        found = self._new.get(key, _ABSENT)
        return self._values.get(key, default) if found is _ABSENT else found

    def __getitem__(self, key: Any) -> Any:
        found = self._new.get(key, _ABSENT)
        return self._values[key] if found is _ABSENT else found

    def __setitem__(self, key: Any, value: Any) -> None:
        self._new[key] = value

    def copy(self) -> LayeredMap:
        """One over the same frozen layer, with changes of its own."""
        twin = LayeredMap(self._values)
        twin._new = self._new.copy()
        return twin

    def flattened(self) -> LayeredMap:
        """One whose frozen layer holds everything."""
        return LayeredMap(self._values | self._new)

    @property
    def changes(self) -> int:
        """Entries noted on top of the frozen layer."""
        return len(self._new)


def split_queue(queue: Any) -> tuple[Any, Any]:
    """An `OrderedDict` or `LayeredQueue` as (what takes its place, its copy)."""
    if isinstance(queue, LayeredQueue):
        queue = queue.flattened() if queue.changes > MOST_CHANGES else queue
    elif len(queue) > COPIED_UP_TO:
        queue = LayeredQueue(list(queue), queue)
    return queue, queue.copy()


def split_map(mapping: Any) -> tuple[Any, Any]:
    """A dictionary that never loses a key, or a `LayeredMap`, as (what takes its place, its copy)."""
    if isinstance(mapping, LayeredMap):
        # Changes are copied at C speed, so they may be more where the frozen layer is large.
        many = max(MOST_CHANGES, len(mapping._values) // 16)
        mapping = mapping.flattened() if mapping.changes > many else mapping
    elif len(mapping) > 4 * COPIED_UP_TO:
        mapping = LayeredMap(mapping)
    return mapping, mapping.copy()


def fork_containers(thing: Thing) -> Thing:
    """A copy whose containers are its own as far as they change. They must hold what never changes."""
    fork = copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, (OrderedDict, LayeredQueue)):
            kept, own = split_queue(value)
            setattr(thing, name, kept)
            setattr(fork, name, own)
        elif isinstance(value, (dict, list, set)):
            setattr(fork, name, value.copy())
    return fork
