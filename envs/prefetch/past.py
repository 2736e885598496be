"""What one tenant has done so far, as prefetchers and statistics remember it; and what they say of a way to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .arms import Arm
from .config import Backing
from .layers import split_map
from .prefetchers import PREFETCHER_TYPES, make_prefetcher
from .shadow import HELD, forget_old, has_shadow, mark_of_unknown, watch
from .stream import LONG, features_of

_WINDOW: Final = LONG + 8
"""Past accesses that stream features look back on, and the few before them that differences need."""

Suggestions = Mapping[str, Sequence[tuple[int, ...]]]


class Continued(NamedTuple):
    """What follows from a tenant's next accesses.

    Attributes:
        suggestions: By prefetcher: what it suggests at each access.
        counts: Of each arm in shadow: issued, covered and lead at each access, int32 of shape (accesses, 3, arms).
        features: The stream features after each access, float32 of shape (accesses, 9).
    """

    suggestions: Suggestions
    counts: NDArray[np.int32]
    features: NDArray[np.float32]


class TenantPast:
    """Prefetchers trained on a tenant's accesses up to now, its shadows, and the last places of its ids.

    It is told of accesses as they happen; a way to go on is tried out on a fork of it.

    Args:
        arms: The menu.
        backing: Which ids exist behind the cache.
    """

    def __init__(self, arms: Sequence[Arm], backing: Backing) -> None:
        self._arms = tuple(arms)
        degrees: dict[str, int] = {}
        for arm in arms:
            if has_shadow(arm):
                degrees[arm.prefetcher] = max(degrees.get(arm.prefetcher, 0), arm.degree)
        self._prefetchers = {name: make_prefetcher(name, degree) for name, degree in degrees.items()}
        self._oracles = [
            arm for arm in arms if arm.prefetcher in PREFETCHER_TYPES and PREFETCHER_TYPES[arm.prefetcher].knows_future
        ]
        self._unknown = mark_of_unknown(backing)
        self._forgets = backing != "seen"
        self._since: list[Any] = [{} if has_shadow(arm) else None for arm in arms]
        self._last: Any = {}
        self._keys: list[int] = []
        self._distances: list[int] = []
        self.first = bytearray()
        """Whether each access was the first of its id."""
        self.highest = 0
        """Highest id of an access."""
        self.position = 0

    def fork(self) -> Self:
        """A past that goes on alike and apart."""
        fork = copy(self)
        fork._prefetchers = {name: prefetcher.fork() for name, prefetcher in self._prefetchers.items()}
        fork._since = self._since.copy()
        for place, since in enumerate(self._since):
            if self._forgets and since is not None:
                fork._since[place] = since.copy()
            elif since is not None:
                self._since[place], fork._since[place] = split_map(since)
        self._last, fork._last = split_map(self._last)
        fork._keys, fork._distances = self._keys.copy(), self._distances.copy()
        fork.first = self.first.copy()
        return fork

    def learn(self, keys: Sequence[int]) -> None:
        """The tenant has accessed these ids."""
        self._go_on(keys)
        self.highest = max((self.highest, *keys))
        self.first += bytes([distance == 0 for distance in self._distances[-len(keys) :]])
        del self._keys[:-_WINDOW], self._distances[:-_WINDOW]
        if self._forgets:
            for place, since in enumerate(self._since):
                if since is not None and len(since) > 32 * HELD:
                    self._since[place] = forget_old(since, self.position)

    def continued(self, keys: Sequence[int]) -> Continued:
        """What follows from going on with these ids; nothing is learned from it."""
        n = len(keys)
        if n == 0:
            empty = np.zeros((0, 3, len(self._arms)), dtype=np.int32)
            return Continued({}, empty, np.zeros((0, 9), dtype=np.float32))
        fork = self.fork()
        suggestions, counts = fork._go_on(keys)
        for arm in self._oracles:
            access = make_prefetcher(arm.prefetcher, max(a.degree for a in self._oracles), keys).access
            suggestions[arm.prefetcher] = [tuple(access(key, False)) for key in keys]
        features = features_of(np.array(fork._keys, dtype=np.int64), np.array(fork._distances, dtype=np.int64))
        return Continued(suggestions, counts, features[-n:])

    def _go_on(self, keys: Sequence[int]) -> tuple[dict[str, Sequence[tuple[int, ...]]], NDArray[np.int32]]:
        suggestions: dict[str, Sequence[tuple[int, ...]]] = {}
        for name, prefetcher in self._prefetchers.items():
            access = prefetcher.access
            suggestions[name] = [tuple(access(key, False)) for key in keys]
        counts = np.zeros((len(keys), 3, len(self._arms)), dtype=np.int32)
        for place, (arm, since) in enumerate(zip(self._arms, self._since, strict=True)):
            if since is not None:
                said = suggestions[arm.prefetcher]
                counts[:, :, place] = watch(keys, said, arm.degree, self._unknown, since, self.position).T
        last = self._last
        for position, key in enumerate(keys, self.position):
            self._distances.append(position - last.get(key, position))
            last[key] = position
        self._keys += keys
        self.position += len(keys)
        return suggestions, counts
