"""Which replicas a router believes to hold a prefix: those it has sent it to, the least recently sent forgotten."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray


class PrefixIndex:
    """Approximate, as routers in use have it (SGLang's router keeps a tree of what it sent): evictions go unseen.

    Args:
        n_replicas: Size of the fleet.
        capacity_chunks: Chunks remembered.
    """

    def __init__(self, n_replicas: int, capacity_chunks: int) -> None:
        self._n_replicas = n_replicas
        self._capacity = max(1, capacity_chunks)
        self._holders: OrderedDict[int, int] = OrderedDict()  # chunk -> bit mask of replicas
        self._all = (1 << n_replicas) - 1

    def fork(self) -> PrefixIndex:
        """A copy that goes its own way."""
        twin = PrefixIndex(self._n_replicas, self._capacity)
        twin._holders = self._holders.copy()
        return twin

    def matched_chunks(self, keys: list[int]) -> NDArray[np.float64]:
        """Leading chunks of ``keys`` that each replica is believed to hold, shape (R,)."""
        matched = np.zeros(self._n_replicas)
        mask = self._all
        holders = self._holders
        for position, key in enumerate(keys):
            kept = mask & holders.get(key, 0)
            lost = mask ^ kept
            while lost:
                bit = lost & -lost
                matched[bit.bit_length() - 1] = position
                lost ^= bit
            mask = kept
            if not mask:
                return matched
        while mask:
            bit = mask & -mask
            matched[bit.bit_length() - 1] = len(keys)
            mask ^= bit
        return matched

    def sent(self, keys: list[int], replica: int) -> None:
        """The chunks went to ``replica``."""
        holders = self._holders
        bit = 1 << replica
        # Last chunk first, so that the start of a prefix is forgotten after its end.
        for key in reversed(keys):
            holders[key] = holders.get(key, 0) | bit
            holders.move_to_end(key)
        while len(holders) > self._capacity:
            holders.popitem(last=False)

    def lost(self, replica: int) -> None:
        """The replica went down and its cache with it."""
        keep = ~(1 << replica)
        for key in self._holders:
            self._holders[key] &= keep
