"""The upper bound: what the tenant is going to access next."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Prefetcher


class Oracle(Prefetcher):
    """Suggests the next ``degree`` distinct ids of the stream. No prefetcher can be built so; it bounds those that can.

    Args:
        degree: Most suggestions at an access.
        keys: The ids of all accesses of the stream, in order.
        reach: It looks at most ``reach * degree`` accesses ahead, so that a few ids repeated for long cost little.
    """

    name = "oracle"
    knows_future = True

    def __init__(self, degree: int, keys: Sequence[int], reach: int = 16) -> None:
        super().__init__(degree)
        self.reach = reach
        self._keys = keys
        self._position = 0

    def access(self, key: int, hit: bool) -> Sequence[int]:
        self._position += 1
        keys, degree = self._keys, self.degree
        suggested: dict[int, None] = {}
        for position in range(self._position, min(self._position + self.reach * degree, len(keys))):
            following = keys[position]
            if following != key and following not in suggested:
                suggested[following] = None
                if len(suggested) == degree:
                    break
        return tuple(suggested)
