"""How many more misses one LRU cache may have than another that starts elsewhere and then sees the same requests.

The guard's ghost-cache budget rests on this: taking over costs at most as many misses as the cache has places. Searched
exhaustively: all pairs of caches of k places (the ids of one renamed 0, 1, ..., so that there are finitely many, partly
filled ones included), all demand and prefetch requests for an id of either or a new one. An edge weighs what the first
cache misses more; the most that it can lose is the heaviest path, and without bound where a cycle gains.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from handrail.envs.prefetch.eviction import make_eviction

Cache = tuple[int, ...]  # most recent first
Pair = tuple[Cache, Cache]


def to_front(cache: Cache, key: int, k: int) -> Cache:
    return (key, *(other for other in cache if other != key))[:k]


def renamed(first: Cache, second: Cache) -> Pair:
    names: dict[int, int] = {}
    for key in first + second:
        names.setdefault(key, len(names))
    return tuple(names[key] for key in first), tuple(names[key] for key in second)


def prefetched(pair: Pair, key: int, k: int, rule: str) -> Pair:
    """Both caches after a prefetch request.

    stay: what is there stays where it is. front: it moves to the front. mirror: the first cache does what the second
    one does, which leaves what is there where it is: nothing where the second has it, else the id comes to the front.
    """
    first, second = pair
    if rule == "stay":
        first, second = (cache if key in cache else to_front(cache, key, k) for cache in pair)
        return first, second
    if rule == "mirror" and key in second:
        return pair
    return to_front(first, key, k), to_front(second, key, k)


def search(k: int, rule: str) -> tuple[dict[Pair, int], bool]:
    """What the first cache can lose from each pair, and whether that is bounded."""
    edges: dict[Pair, list[tuple[int, Pair]]] = {}
    waiting = [
        renamed(tuple(range(size)), second)
        for size in range(k + 1)
        for other in range(k + 1)
        for second in permutations(range(size + other), other)
    ]
    while waiting:
        pair = waiting.pop()
        if pair in edges:
            continue
        first, second = pair
        edges[pair] = []
        for key in range(len(set(first + second)) + 1):
            demanded = renamed(to_front(first, key, k), to_front(second, key, k))
            edges[pair].append(((key not in first) - (key not in second), demanded))
            edges[pair].append((0, renamed(*prefetched(pair, key, k, rule))))
        waiting += [after for _, after in edges[pair]]
    most = dict.fromkeys(edges, 0)
    for _ in range(len(edges) + 1):
        better = {pair: max(0, *(weight + most[after] for weight, after in out)) for pair, out in edges.items()}
        if better == most:
            return most, True
        most = better
        if max(most.values()) > len(edges):  # heavier than any path without a cycle
            break
    return most, False


def common_front(pair: Pair) -> int:
    """Places from the front that hold the same ids in the same order."""
    return next(
        (place for place, (one, other) in enumerate(zip(*pair, strict=False)) if one != other), min(map(len, pair))
    )


@pytest.mark.parametrize("rule", ["front", "mirror"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_at_most_k_misses_more(k, rule):
    """Exactly k at worst, and never more than the places below the common front; equal contents do not suffice."""
    most, bounded = search(k, rule)
    assert bounded
    assert max(most.values()) == k
    assert most[renamed(tuple(range(k)), tuple(range(k, 2 * k)))] == k
    assert all(loss <= k - common_front(pair) for pair, loss in most.items())
    same_contents = [loss for pair, loss in most.items() if sorted(pair[0]) == sorted(pair[1])]
    assert max(same_contents) == k - 1


@pytest.mark.parametrize("k", [3, 4])
def test_without_bound_where_a_prefetch_leaves_what_is_there(k):
    assert not search(k, "stay")[1]


@pytest.mark.parametrize("k", [1, 2])
def test_two_places_are_too_few_to_lose_more(k):
    most, bounded = search(k, "stay")
    assert bounded
    assert max(most.values()) == k


def test_a_sequence_that_loses_without_bound():
    """Three places, four ids: one cache misses every demand access and the other none."""
    loser, winner = make_eviction("lru", 3), make_eviction("lru", 3)
    for cache, contents in ((loser, "cba"), (winner, "bda")):
        for key in map(ord, contents):
            cache.insert(key)
    missed = {loser: 0, winner: 0}
    for prefetch, demand in ["cd", "bc", "ab", "da"] * 1000:
        for cache in (loser, winner):
            if ord(prefetch) not in cache:
                cache.insert(ord(prefetch))
            if not cache.touch(ord(demand)):
                cache.insert(ord(demand))
                missed[cache] += 1
    assert missed == {loser: 4000, winner: 0}


@pytest.mark.parametrize("rule", ["front", "mirror"])
def test_the_bound_holds_for_larger_caches(rule):
    """Random requests on random pairs of 8 to 40 places, with the simulator's own LRU."""
    rng = np.random.default_rng(11)
    largest = 0
    for _ in range(60):
        k = int(rng.integers(8, 41))
        pair = [make_eviction("lru", k) for _ in range(2)]
        for cache in pair:
            for key in rng.permutation(2 * k)[:k].tolist():
                cache.insert(key)
        lost = 0
        for key in rng.integers(0, 2 * k + 2, size=400).tolist():
            if rng.random() < 0.5:
                there = [cache.touch(key) for cache in pair]
                lost += there[1] - there[0]
            elif rule == "front" or key not in pair[1]:
                there = [cache.touch(key) for cache in pair]  # moves it to the front, and is not counted
            else:
                continue
            for cache, found in zip(pair, there, strict=True):
                if not found:
                    cache.insert(key)
            largest = max(largest, lost)
            assert lost <= k
    assert largest > 0
