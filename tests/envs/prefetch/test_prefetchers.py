"""What holds of every prefetcher: degree, distinct ids, determinism, no anticipation, deafness where promised."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_patterns import changing_steps, cycle, interleaved, restless, uniform

from handrail.envs.prefetch.arms import DEFAULT_MENU, Arm
from handrail.envs.prefetch.config import PREFETCHERS
from handrail.envs.prefetch.prefetchers import PREFETCHER_TYPES, make_prefetcher
from handrail.traces import HandrailError

LONG = interleaved(n=300) + cycle(300, 3) + changing_steps(n=300) + restless(600, 1) + uniform(100)

NAMES = list(PREFETCHER_TYPES)
CAUSAL = [name for name in NAMES if not PREFETCHER_TYPES[name].knows_future]
DEMAND_DRIVEN = [name for name in NAMES if PREFETCHER_TYPES[name].demand_driven]
OTHERS = [name for name in NAMES if not PREFETCHER_TYPES[name].demand_driven]

# Runs up and down, strides, repetitions and jumps around the lowest id.
streams = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([0, 1, 1, 2, -1, -3, 128, 136]), st.integers(1, 30)),
    min_size=1,
    max_size=12,
).map(lambda runs: [max(start + step * place, 0) for start, step, n in runs for place in range(n)])


def suggestions(name: str, degree: int, keys: list[int], hits: list[bool] | None = None) -> list[list[int]]:
    """What a fresh prefetcher says at each access; hits are all False unless given."""
    prefetcher = make_prefetcher(name, degree, keys)
    return [list(prefetcher.access(key, hit)) for key, hit in zip(keys, hits or [False] * len(keys), strict=True)]


def played(name: str, degree: int, keys: list[int], seed: int = 0) -> list[list[int]]:
    """The same in a cache that holds the last 40 ids, with fills, uses and evictions, some uses late."""
    prefetcher = make_prefetcher(name, degree, keys)
    held: dict[int, bool] = {}
    said = []

    def fill(key: int, prefetched: bool) -> None:
        if len(held) == 40:
            oldest = next(iter(held))
            if held.pop(oldest):
                prefetcher.note_evicted(oldest)
        held[key] = prefetched
        prefetcher.note_filled(key, prefetched)

    for position, key in enumerate(keys):
        hit = key in held
        if hit and held.pop(key):
            prefetcher.note_used(key, late=(position + seed) % 3 == 0)
        if hit:
            held[key] = False
        else:
            fill(key, prefetched=False)
        said.append(list(prefetcher.access(key, hit)))
        for other in said[-1]:
            if other not in held:
                fill(other, prefetched=True)
    return said


def test_there_is_one_of_every_name():
    assert {"none", *NAMES} == set(PREFETCHERS)
    assert OTHERS == ["best-offset", "amp"]
    assert [name for name in NAMES if name not in CAUSAL] == ["oracle"]


def test_the_default_menu_is_demand_driven():
    assert all(arm.prefetcher in DEMAND_DRIVEN for arm in map(Arm.parse, DEFAULT_MENU) if arm.degree)


@pytest.mark.parametrize(
    ("name", "degree", "message"),
    [("none", 1, "no prefetcher"), ("strider", 1, "no prefetcher"), ("stride", 0, "below 1"), ("oracle", 1, "needs")],
)
def test_what_cannot_be_made_is_refused(name, degree, message):
    with pytest.raises(HandrailError, match=message):
        make_prefetcher(name, degree)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(keys=streams, degree=st.sampled_from([1, 2, 3, 8, 33, 64]))
def test_suggestions_are_distinct_ids_within_the_degree(name, keys, degree):
    for key, said in zip(keys, played(name, degree, keys), strict=True):
        assert len(said) <= degree
        assert len(set(said)) == len(said)
        assert key not in said
        assert all(type(one) is int and one >= 0 for one in said)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [1, 4, 32])
def test_long_streams_keep_to_the_degree(name, degree):
    spoken = 0
    for key, said in zip(LONG, played(name, degree, LONG), strict=True):
        assert len(said) <= degree
        assert len(set(said)) == len(said)
        assert key not in said
        assert min(said, default=0) >= 0
        spoken += bool(said)
    assert spoken > 0


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_are_equal_and_a_copy_goes_on_alike(name):
    keys = restless(3000, 2)
    assert played(name, 8, keys) == played(name, 8, keys)
    prefetcher = make_prefetcher(name, 8, keys)
    for key in keys[:1500]:
        prefetcher.access(key, False)
    twin = copy.deepcopy(prefetcher)
    mine = [list(prefetcher.access(key, False)) for key in keys[1500:]]
    assert [list(twin.access(key, False)) for key in keys[1500:]] == mine


@pytest.mark.parametrize("name", CAUSAL)
@settings(max_examples=20, deadline=None)
@given(keys=streams, other=streams, seed=st.integers(0, 2))
def test_the_future_changes_nothing(name, keys, other, seed):
    assert played(name, 8, keys + other, seed)[: len(keys)] == played(name, 8, keys, seed)


def test_the_oracle_sees_the_future():
    assert played("oracle", 2, [1, 2, 3])[:2] != played("oracle", 2, [1, 2, 4])[:2]


@pytest.mark.parametrize("name", DEMAND_DRIVEN)
@settings(max_examples=20, deadline=None)
@given(keys=streams, data=st.data())
def test_demand_driven_ones_are_deaf_to_the_cache(name, keys, data):
    hits = data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    assert suggestions(name, 8, keys, hits) == suggestions(name, 8, keys) == played(name, 8, keys)


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_listen(name):
    keys = interleaved((128, 136), n=3000)
    assert played(name, 16, keys) != suggestions(name, 16, keys)
