"""Stream features against their definitions, counted access by access, and that they look back only."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from prefetch_samples import mixed_keys, one_tenant, three_tenants

from handrail.envs.prefetch.layout import GLOBAL_FIELDS
from handrail.envs.prefetch.stream import STREAM_FIELDS, StreamFeatures, stream_features


def entropy(deltas: list[int]) -> float:
    if len(deltas) < 2:
        return 0.0
    shares = [count / len(deltas) for count in Counter(deltas).values()]
    return -sum(share * math.log2(share) for share in shares) / math.log2(len(deltas))


def counted(keys: list[int], position: int) -> list[float]:
    """The features after ``position`` accesses, by their definitions."""
    past = keys[:position]
    deltas = [b - a for a, b in pairwise(past)]
    repeats = [delta in deltas[max(i - 4, 0) : i] for i, delta in enumerate(deltas)]
    kinds = []
    for i, key in enumerate(past):
        before = past[:i][::-1]
        ago = before.index(key) + 1 if key in before else 0
        kinds.append("new" if ago == 0 else "near" if ago <= 256 else "mid" if ago <= 4096 else "far")

    def share(flags) -> float:
        return sum(flags) / max(len(flags), 1)

    return [
        entropy(deltas[-64:]),
        entropy(deltas[-512:]),
        share(repeats[-64:]),
        share(repeats[-512:]),
        share([delta == 1 for delta in deltas[-512:]]),
        *(share([kind == wanted for kind in kinds[-512:]]) for wanted in ("new", "near", "mid", "far")),
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_features_are_what_their_definitions_say(seed):
    keys = mixed_keys(6000, seed)
    found = stream_features(keys)
    assert found.shape == (6001, len(STREAM_FIELDS))
    for position in [*range(8), 63, 64, 65, 66, 300, 511, 512, 513, 514, 1500, 4096, 4100, 5999, 6000]:
        assert found[position] == pytest.approx(counted(keys.tolist(), position), abs=1e-6), position
    assert found[5500:, -1].max() > 0  # ids that come back after long do occur


def test_the_columns_stand_in_the_layout_in_this_order():
    names = [field.name for field in GLOBAL_FIELDS]
    first = names.index(STREAM_FIELDS[0])
    assert tuple(names[first : first + len(STREAM_FIELDS)]) == STREAM_FIELDS


def test_extremes():
    scan, constant = stream_features(np.arange(2000)), stream_features(np.full(2000, 7))
    rng = np.random.default_rng(0)
    scattered = stream_features(rng.integers(0, 2**62, 2000))
    at_end = dict(zip(STREAM_FIELDS, scan[-1].tolist(), strict=True))
    assert (at_end["delta_entropy_512"], at_end["stride_confidence_512"], at_end["sequential_512"]) == (0, 1, 1)
    assert at_end["new_512"] == 1
    assert constant[-1].tolist() == [0, 0, 1, 1, 0, 0, 1, 0, 0]
    assert scattered[-1].tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_short_streams(n):
    found = stream_features(np.arange(n))
    assert found.shape == (n + 1, len(STREAM_FIELDS))
    assert not found[0].any()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("until", [1, 64, 500, 513, 3000])
def test_what_comes_later_changes_nothing(until):
    keys = mixed_keys(4000, 0)
    other = np.concatenate((keys[:until], mixed_keys(4000, 9)))
    assert np.array_equal(stream_features(keys)[: until + 1], stream_features(other)[: until + 1])


def test_tenants_stand_apart():
    trace = three_tenants()
    features = StreamFeatures(trace)
    for code in range(3):
        keys = trace.key[trace.rows_of_tenant(code)]
        alone = stream_features(keys)
        for position in (0, 1, 200, len(keys)):
            assert np.array_equal(features.at(code, position), alone[position])


def test_a_trace_is_worked_out_once():
    trace = one_tenant(500)
    assert StreamFeatures.build(trace) is StreamFeatures.build(one_tenant(500))
    assert StreamFeatures.build(trace) is not StreamFeatures.build(one_tenant(500, seed=1))
