"""NumPy inference: what each architecture computes, and that it agrees with torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_observations import observe, random_observation

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import make_heuristic
from handrail.policies.network import Feature, FeatureMap, Mlp, ReplicaScorer, mlp_shapes, scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)
FEATURES = (
    Feature(("drain_s",)),
    Feature(("prefill_s",)),
    Feature(("decode_step_s", "output_estimate_ktokens")),
    Feature(("inflight",), "log1p"),
    Feature(("rate_10s",)),
)


def random_tensors(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.standard_normal(shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}


def random_scorer(n_replicas: int, hidden: tuple[int, ...], seed: int) -> ReplicaScorer:
    rng = np.random.default_rng(seed)
    tensors = random_tensors(scorer_shapes(len(FEATURES), hidden), rng)
    return ReplicaScorer(layout_for(n_replicas), FEATURES, rng.random(5), 0.5 + rng.random(5), tensors)


def test_features_are_products_and_logarithms_of_fields():
    observation = observe(
        LAYOUT,
        drain_s=[1, 2, 3, 4],
        decode_step_s=[0.5, 1, 2, 3],
        output_estimate_ktokens=0.5,
        inflight=[0, 1, 2, 3],
        rate_10s=7,
    )
    rows = FeatureMap(LAYOUT, FEATURES)(observation)
    expected = np.column_stack([[1, 2, 3, 4], [0, 0, 0, 0], [0.25, 0.5, 1, 1.5], np.log1p([0, 1, 2, 3]), [7, 7, 7, 7]])
    np.testing.assert_allclose(rows, expected, rtol=1e-12)
    assert [f.label for f in FEATURES[2:4]] == ["decode_step_s*output_estimate_ktokens", "log1p(inflight)"]


@pytest.mark.parametrize("seed", range(3))
def test_the_scorer_with_a_heuristics_weights_is_that_heuristic(seed: int):
    rng = np.random.default_rng(seed)
    std = np.array([3.0, 0.2])
    scorer = ReplicaScorer(LAYOUT, FEATURES[:2], [1.0, 2.0], std, {"linear": -std})
    fallback = make_heuristic("expected-drain", LAYOUT)
    for _ in range(200):
        observation = random_observation(LAYOUT, rng)
        assert scorer.act(observation) == fallback.predict(observation)[0]


@pytest.mark.parametrize("hidden", [(), (5,), (6, 3)])
@given(seed=st.integers(0, 2**31), n=st.integers(2, 12))
def test_permuting_the_replicas_permutes_the_scores_bit_for_bit(hidden: tuple[int, ...], seed: int, n: int):
    rng = np.random.default_rng(seed)
    layout, scorer = layout_for(n), random_scorer(n, hidden, seed)
    observation = random_observation(layout, rng)
    order = rng.permutation(n)
    permuted = observation.copy()
    layout.replica_matrix(permuted)[:] = layout.replica_matrix(observation)[order]
    scores = scorer.scores(observation)
    np.testing.assert_array_equal(scorer.scores(permuted), scores[order])
    if len(np.unique(scores)) == n:
        assert order[scorer.act(permuted)] == scorer.act(observation)


def test_the_same_weights_serve_any_fleet_size():
    small, large = random_scorer(2, (4,), 1), random_scorer(5, (4,), 1)
    observation = random_observation(layout_for(5), np.random.default_rng(0))
    part = np.concatenate([layout_for(5).replica_matrix(observation)[:2].ravel(), layout_for(5).globals(observation)])
    np.testing.assert_array_equal(small.scores(part), large.scores(observation)[:2])


def test_networks_choose_only_replicas_that_are_up():
    rng = np.random.default_rng(3)
    mlp = Mlp(
        LAYOUT, np.zeros(LAYOUT.size), np.ones(LAYOUT.size), 10, "relu", random_tensors(mlp_shapes(53, [8], 4), rng)
    )
    for network in (random_scorer(4, (), 0), random_scorer(4, (5,), 0), mlp):
        for _ in range(50):
            observation = random_observation(LAYOUT, rng)
            assert LAYOUT.replica(observation, "up")[network.act(observation)] == 1.0
        assert network.act(observe(LAYOUT, up=0)) == 0


def test_normalised_inputs_of_the_mlp_are_clipped():
    tensors = {"layers.0.weight": np.ones((4, LAYOUT.size)), "layers.0.bias": np.arange(4.0)}
    mlp = Mlp(LAYOUT, np.zeros(LAYOUT.size), np.full(LAYOUT.size, 0.5), 3.0, "tanh", tensors)
    observation = observe(LAYOUT, up=0, drain_s=[100, 0.5, 0, 0])
    np.testing.assert_allclose(mlp.scores(observation), 3.0 + 1.0 + np.arange(4))


def test_unflatten_cuts_in_the_documented_order_and_refuses_another_length():
    shapes = scorer_shapes(2, (3,))
    tensors = unflatten(np.arange(14.0), shapes)
    assert list(tensors) == ["linear", "hidden.0.weight", "hidden.0.bias", "output"]
    np.testing.assert_array_equal(tensors["hidden.0.weight"], [[2, 3], [4, 5], [6, 7]])
    np.testing.assert_array_equal(tensors["output"], [11, 12, 13])
    with pytest.raises(HandrailError, match=r"shape \(13,\), expected \(14,\)"):
        unflatten(np.arange(13.0), shapes)


def test_wrong_shapes_fields_and_statistics_are_refused():
    with pytest.raises(HandrailError, match=r"'linear' has shape \(2,\), expected \(5,\)"):
        ReplicaScorer(LAYOUT, FEATURES, np.zeros(5), np.ones(5), {"linear": np.zeros(2)})
    with pytest.raises(HandrailError, match="'std' must be positive"):
        ReplicaScorer(LAYOUT, FEATURES, np.zeros(5), np.zeros(5), {"linear": np.zeros(5)})
    with pytest.raises(HandrailError, match="no field 'speed'"):
        FeatureMap(LAYOUT, [Feature(("speed",))])
    with pytest.raises(HandrailError, match="one field or a product of two"):
        FeatureMap(LAYOUT, [Feature(("up", "up", "up"))])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [[16], [64, 64]])
def test_the_mlp_agrees_with_torch(activation: str, hidden: list[int]):
    torch = pytest.importorskip("torch", reason="parity with torch needs torch")
    rng = np.random.default_rng(0)
    tensors = random_tensors(mlp_shapes(LAYOUT.size, hidden, 4), rng)
    mean, std = rng.random(LAYOUT.size), 0.1 + rng.random(LAYOUT.size)
    mlp = Mlp(LAYOUT, mean, std, 10.0, activation, tensors)
    layers: list[object] = []
    for i in range(len(hidden) + 1):
        weight = tensors[f"layers.{i}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        layer.bias.data = torch.tensor(tensors[f"layers.{i}.bias"], dtype=torch.float32)
        layers += [layer, torch.nn.Tanh() if activation == "tanh" else torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    for _ in range(50):
        observation = random_observation(LAYOUT, rng)
        z = torch.clip((torch.tensor(observation) - torch.tensor(mean)) / torch.tensor(std), -10, 10).float()
        expected = net(z).detach().numpy()
        np.testing.assert_allclose(mlp.scores(observation), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 3)])
def test_the_scorer_agrees_with_torch(hidden: tuple[int, ...]):
    torch = pytest.importorskip("torch", reason="parity with torch needs torch")
    rng = np.random.default_rng(1)
    tensors = random_tensors(scorer_shapes(5, hidden), rng)
    mean, std = rng.random(5), 0.5 + rng.random(5)
    scorer = ReplicaScorer(LAYOUT, FEATURES, mean, std, tensors)
    rows = FeatureMap(LAYOUT, FEATURES)
    for _ in range(50):
        observation = random_observation(LAYOUT, rng)
        z = (torch.tensor(rows(observation)) - torch.tensor(mean)) / torch.tensor(std)
        expected = z @ torch.tensor(tensors["linear"])
        for i in range(len(hidden)):
            z = torch.tanh(
                torch.nn.functional.linear(
                    z, torch.tensor(tensors[f"hidden.{i}.weight"]), torch.tensor(tensors[f"hidden.{i}.bias"])
                )
            )
        if hidden:
            expected = expected + z @ torch.tensor(tensors["output"])
        np.testing.assert_allclose(scorer.scores(observation), expected.numpy(), rtol=1e-5, atol=1e-5)
