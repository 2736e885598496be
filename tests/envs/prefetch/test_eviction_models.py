"""Every eviction rule against its naive model, under touches, late arrivals, prefetches and removals in any order."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from eviction_loops import RULES, cache_for
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from naive_eviction import naive_eviction

KEYS = st.integers(0, 15)
SIZES = st.one_of(st.integers(1, 4), st.integers(1, 50))


class EvictionMachine(RuleBasedStateMachine):
    name = ""

    @initialize(capacity=st.integers(1, 40), trace=st.lists(KEYS, min_size=1, max_size=150))
    def begin(self, capacity, trace):
        self.trace = trace
        self.row = -1
        self.cache = cache_for(self.name, capacity, trace)
        self.naive = naive_eviction(self.name, capacity, trace)

    @rule(size=SIZES)
    def access(self, size):
        """The next demand access; its fetch, if it needs one, comes at once."""
        self.ask()
        self.bring(self.trace[self.row], size)

    @rule()
    def ask(self):
        """The next demand access; its fetch comes later or never. The trace's last id is accessed without end."""
        self.row = min(self.row + 1, len(self.trace) - 1)
        key = self.trace[self.row]
        self.cache.at(self.row)
        self.naive.at(self.row)
        assert self.cache.touch(key) == self.naive.touch(key)

    @rule(key=KEYS, size=SIZES)
    def arrive(self, key, size):
        """A late fetch or a prefetch, of an id that the trace may not have."""
        self.bring(key, size)

    def bring(self, key, size):
        if key not in self.cache:
            assert self.cache.insert(key, size) == self.naive.insert(key, size)

    @rule(key=KEYS)
    def drop(self, key):
        if key in self.cache:
            self.cache.remove(key)
            self.naive.remove(key)

    @rule(key=KEYS)
    def fork(self, key):
        """A copy goes on alike, whatever happens to the one that was copied."""
        original, self.cache = self.cache, deepcopy(self.cache)
        original.touch(key)
        for stranger in range(100, 160):
            original.insert(stranger)

    @invariant()
    def same_contents(self):
        if hasattr(self, "cache"):
            contents = self.naive.contents()
            assert [key for key in range(16) if key in self.cache] == sorted(contents)
            assert len(self.cache) == len(contents)
            assert self.cache.used == sum(contents.values()) <= self.cache.capacity


@pytest.mark.parametrize("name", RULES)
def test_agrees_with_the_naive_model(name):
    machine = type(f"{name}_machine", (EvictionMachine,), {"name": name})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=50, deadline=None))


@pytest.mark.parametrize("largest", [1, 3])
@pytest.mark.parametrize("name", RULES)
def test_agrees_with_the_naive_model_over_long_runs(name, largest):
    """Far enough to fill ghost lists and to move targets: 6 caches, 1,500 calls each, most of them accesses."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        capacity = int(rng.integers(4, 32)) * largest
        ids = 2 * capacity // largest + 4
        trace = np.minimum(rng.zipf(1.2, size=1500) - 1, ids - 1).tolist()
        cache, naive = cache_for(name, capacity, trace), naive_eviction(name, capacity, trace)
        for row, key in enumerate(trace):
            cache.at(row)
            naive.at(row)
            assert cache.touch(key) == naive.touch(key)
            chance, other, size = rng.random(), int(rng.integers(ids)), int(rng.integers(1, largest + 1))
            if chance < 0.1:
                key = other
            if chance < 0.9 and key not in cache:
                assert cache.insert(key, size) == naive.insert(key, size)
            if chance > 0.99 and other in cache:
                cache.remove(other)
                naive.remove(other)
            contents = naive.contents()
            assert (len(cache), cache.used) == (len(contents), sum(contents.values()))
        assert all(key in cache for key in contents)
