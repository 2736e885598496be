"""Value heads: what they fit, that they spread where they have not been, and that files are checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies.value_heads import CARD_FILE, WEIGHTS_FILE, ValueHeads, discounted_returns, fit_value_heads
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(2)


def data(count: int, seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    x = (scale * rng.random((count, LAYOUT.size))).astype(np.float32)
    x[:, 3] = 0.0  # a field that never moves
    y = 3.0 * np.arcsinh(x[:, 0]) - np.arcsinh(x[:, 5]) + 0.5 + 0.05 * rng.standard_normal(count)
    return x, y


def test_heads_fit_and_agree_where_they_have_been():
    heads = fit_value_heads(LAYOUT, *data(2000), heads=5)
    x, y = data(200, seed=1)
    values = np.array([heads.values(row) for row in x])
    assert values.shape == (200, 5)
    assert np.abs(values.mean(axis=1) - y).mean() < 0.1
    assert len({tuple(w) for w in heads.weights.tolist()}) == 5


def test_heads_spread_where_they_have_not_been():
    heads = fit_value_heads(LAYOUT, *data(300), heads=5)
    near = np.mean([heads.values(row).var() for row in data(100, seed=1)[0]])
    far = np.mean([heads.values(row).var() for row in data(100, seed=1, scale=1000.0)[0]])
    assert far > 20 * near


def test_a_fit_repeats_by_seed():
    first, again, other = (fit_value_heads(LAYOUT, *data(100), seed=s).weights for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_saved_heads_are_the_same(tmp_path):
    heads = fit_value_heads(LAYOUT, *data(100), unit="slowdown")
    heads.save(tmp_path / "heads")
    again = ValueHeads.load(tmp_path / "heads", LAYOUT)
    row = data(1)[0][0]
    assert np.array_equal(again.values(row), heads.values(row))
    assert again.unit == "slowdown"
    heads.save(tmp_path / "twice")
    for name in (CARD_FILE, WEIGHTS_FILE):
        assert (tmp_path / "heads" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda f: (f / CARD_FILE).unlink(), "cannot be read"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b"x"), "sha256"),
        (lambda f: (f / CARD_FILE).write_text("{}"), "field replica_fields"),
        (lambda f: _change(f, n_replicas=9), "n_replicas"),
        (lambda f: _change(f, global_fields=["a"]), "global_fields"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, spoil, text):
    fit_value_heads(LAYOUT, *data(50)).save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(HandrailError, match=text):
        ValueHeads.load(tmp_path, LAYOUT)


def _change(folder, **fields):
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(card | fields))


@pytest.mark.parametrize(
    ("x", "y", "heads"),
    [
        (np.ones((5, LAYOUT.size)), np.ones(4), 5),
        (np.ones((5, 3)), np.ones(5), 5),
        (np.ones((5, LAYOUT.size)), np.full(5, np.nan), 5),
        (np.ones((5, LAYOUT.size)), np.ones(5), 1),
    ],
)
def test_a_fit_needs_pairs(x, y, heads):
    with pytest.raises(HandrailError):
        fit_value_heads(LAYOUT, x, y, heads=heads)


def test_heads_of_a_wrong_shape_are_refused():
    with pytest.raises(HandrailError, match="do not fit"):
        ValueHeads(LAYOUT, np.zeros(3), np.ones(3), np.zeros((2, 4)))
    with pytest.raises(HandrailError, match="finite"):
        ValueHeads(LAYOUT, np.zeros(LAYOUT.size), np.zeros(LAYOUT.size), np.zeros((2, LAYOUT.size + 1)))


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 100), st.just(float("nan"))), max_size=30), st.floats(0, 0.99))
def test_returns_are_weighted_means_of_what_is_known(costs, discount):
    returns = discounted_returns(costs, discount)
    for t in range(len(costs)):
        known = [(discount**k, c) for k, c in enumerate(costs[t:]) if not np.isnan(c)]
        weight = sum(w for w, _ in known)
        if weight > 1e-200:
            assert returns[t] == pytest.approx(sum(w * c for w, c in known) / weight, rel=1e-6, abs=1e-9)
        elif not known:
            assert np.isnan(returns[t])
    with pytest.raises(HandrailError, match="discount"):
        discounted_returns(costs, 1.0)
