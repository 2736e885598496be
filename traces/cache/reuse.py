"""LRU stack distances: how large a cache has to be for an access to hit (Mattson et al., IBM Systems Journal 1970)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def stack_distances(key: Ints) -> Ints:
    """Different keys accessed since the last access to the same key, that key among them; -1 at first accesses.

    An LRU cache of c objects, with no prefetching and whole objects of size 1, hits exactly where the distance is 1 to
    c. Takes O(n log n), without a Python loop over rows.

    Args:
        key: Keys in order of access, shape (n,).

    Returns:
        int64, shape (n,).
    """
    order = np.argsort(key, kind="stable")
    again = np.diff(key[order]) == 0
    previous = np.full(len(key), -1, np.int64)
    previous[order[1:][again]] = order[:-1][again]
    rows = np.flatnonzero(previous >= 0)
    since = previous[rows]
    # Of the accesses in between, those whose own last access also lies in between repeat a key: with the accesses that
    # come again in order of time, these are the earlier ones with a larger last access.
    distance = np.full(len(key), -1, np.int64)
    distance[rows] = rows - since - larger_before(since)
    return distance


def larger_before(values: Ints) -> Ints:
    """For each of the values, all different, how many of those before it are larger; shape (n,)."""
    n = len(values)
    counts = np.zeros(n, np.int64)
    rank = np.empty(n, np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(n)
    # From the highest bit on: within a group of equal higher bits, in the order given, each value with a 0 is smaller
    # than the values before it with a 1; then the group is parted by that bit, and both parts keep their order.
    where = np.arange(n)
    for bit in reversed(range(max(n - 1, 0).bit_length())):
        ones = rank >> bit & 1
        ones_before = np.concatenate((np.zeros(1, np.int64), np.cumsum(ones)))[:-1]
        group = rank >> (bit + 1) << (bit + 1)  # ranks are dense, so a group starts where its smallest rank would
        ones_in_group = ones_before - ones_before[group]
        counts[where] += np.where(ones == 0, ones_in_group, 0)
        place = np.where(ones == 1, (group | 1 << bit) + ones_in_group, np.arange(n) - ones_in_group)
        moved_rank, moved_where = np.empty_like(rank), np.empty_like(where)
        moved_rank[place], moved_where[place] = rank, where
        rank, where = moved_rank, moved_where
    return counts
