"""What every eviction rule promises, and the small cases that tell one from another."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from eviction_loops import RULES, cache_for, hits

from handrail.envs.prefetch.eviction import make_eviction
from handrail.traces import HandrailError


def evicted_by(rule: str, capacity: int, accesses: list[int]) -> list[int]:
    """What leaves, in order, when each id that is missed is put in at once."""
    cache = cache_for(rule, capacity, accesses)
    gone: list[int] = []
    for row, key in enumerate(accesses):
        cache.at(row)
        if not cache.touch(key):
            gone += cache.insert(key)
    return gone


@pytest.mark.parametrize(
    ("rule", "accesses", "gone"),
    [
        ("lru", [1, 2, 3, 1, 4, 5], [2, 3]),
        ("fifo", [1, 2, 3, 1, 4, 5], [1, 2]),
        ("clock", [1, 2, 3, 1, 4, 5], [2, 3]),
        ("clock", [1, 2, 3, 1, 2, 3, 4, 5], [1, 2]),  # all had their second chance at once
        ("lfu", [1, 2, 3, 1, 1, 2, 4, 5, 4, 4, 6], [3, 4, 5, 2]),
        ("sieve", [1, 2, 3, 1, 4, 2, 5, 6], [2, 3, 4, 2]),
        ("arc", [1, 2, 3, 1, 2, 4, 3, 5], [3, 1, 2]),
        ("belady", [1, 2, 3, 4, 2, 1, 5, 2], [3, 1]),
    ],
)
def test_who_leaves(rule, accesses, gone):
    assert evicted_by(rule, 3, accesses)[: len(gone)] == gone


def test_s3fifo_brings_back_what_left_too_early_into_the_main_queue():
    cache = make_eviction("s3fifo", 10)
    for key in range(11):
        cache.touch(key)
        cache.insert(key)
    assert 0 not in cache
    for new in range(11, 18):
        cache.insert(new)
    cache.touch(0)
    cache.insert(0)
    for new in range(20, 60):
        cache.insert(new)
    assert 0 in cache
    assert 59 in cache
    assert 58 not in cache  # the small queue holds one


@pytest.mark.parametrize("rule", ["arc", "s3fifo"])
def test_a_prefetch_of_a_remembered_id_is_not_taken_for_reuse(rule):
    """The ghost lists answer to demand alone: the same object stays long if it was missed, and not if it was not."""
    survived = {}
    for missed in (False, True):
        cache = make_eviction(rule, 20)
        for key in range(20):
            cache.insert(key)
            if rule == "arc":
                cache.touch(key)  # a list of objects accessed once forgets what leaves it when it fills the cache
        for key in range(100, 110):
            cache.insert(key)
        left = next(key for key in (*range(20), *range(100, 110)) if key not in cache)
        if missed:
            assert not cache.touch(left)
        cache.insert(left)
        for key in range(200, 212):
            cache.insert(key)
        survived[missed] = left in cache
    assert survived == {False: False, True: True}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_larger_than_the_cache_is_not_admitted(rule):
    cache = cache_for(rule, 5, [1, 2, 3])
    assert cache.insert(1, 3) == ()
    assert cache.insert(2, 6) == (2,)
    assert (1 in cache, 2 in cache, cache.used, len(cache)) == (True, False, 3, 1)
    assert cache.insert(3, 5) == (1,)
    assert cache.used == 5


@pytest.mark.parametrize("rule", RULES)
def test_a_large_object_may_push_out_several(rule):
    cache = cache_for(rule, 6, [0, 1, 2, 3])
    for key in range(3):
        cache.insert(key, 2)
    gone = cache.insert(3, 4)
    assert len(gone) == 2
    assert (cache.used, len(cache)) == (6, 2)
    assert not any(key in cache for key in gone)


@pytest.mark.parametrize("rule", RULES)
def test_asking_what_is_there_is_no_access(rule):
    keys = np.random.default_rng(3).integers(0, 30, size=500).tolist()
    quiet, asked = cache_for(rule, 8, keys), cache_for(rule, 8, keys)
    found = hits(quiet, keys, [1] * len(keys))
    for row, key in enumerate(keys):
        assert sum(other in asked for other in range(30)) == len(asked)
        asked.at(row)
        assert asked.touch(key) == found[row]
        if not found[row]:
            asked.insert(key)


@pytest.mark.parametrize("rule", RULES)
def test_a_copy_goes_on_alike_and_apart(rule):
    keys = np.random.default_rng(4).integers(0, 40, size=600).tolist()
    cache = cache_for(rule, 10, keys)
    hits(cache, keys[:300], [1] * 300)
    copies = [deepcopy(cache), deepcopy(cache)]
    first = [hits_from(copy, keys, 300) for copy in copies]
    assert first[0] == first[1] == hits_from(cache, keys, 300)


def hits_from(cache, keys: list[int], start: int) -> list[bool]:
    found = []
    for row in range(start, len(keys)):
        cache.at(row)
        found.append(cache.touch(keys[row]))
        if not found[-1]:
            cache.insert(keys[row])
    return found


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "belady"])
def test_belady_misses_least(rule):
    keys = np.minimum(np.random.default_rng(5).zipf(1.2, size=4000), 300).tolist()
    for capacity in (1, 5, 30, 100):
        best = hits(cache_for("belady", capacity, keys), keys, [1] * len(keys)).count(True)
        assert hits(cache_for(rule, capacity, keys), keys, [1] * len(keys)).count(True) <= best


def test_belady_knows_a_prefetched_id_that_was_never_accessed_before():
    keys = [1, 2, 9, 1, 2, 3]
    cache = cache_for("belady", 2, keys)
    cache.at(0)
    cache.insert(1)
    assert cache.insert(9) == ()
    assert cache.insert(3) == (1,)  # next rows: 1 at 3, 9 at 2
    assert cache.insert(7) == (3,)


def test_mistakes():
    with pytest.raises(HandrailError, match=r"there is no 'mru'; use one of lru, fifo, .*belady"):
        make_eviction("mru", 5)
    with pytest.raises(HandrailError, match="at least 1"):
        make_eviction("lru", 0)
    with pytest.raises(HandrailError, match="next_row and key"):
        make_eviction("belady", 5)
