"""NumPy inference for the closed list of architectures that a policy folder may hold.

``ReplicaScorer`` gives every replica a score from its own features and takes the best: the same weights serve any fleet
size, and permuting the replicas permutes the choice. ``Mlp`` is a plain network over the whole observation, as
Stable-Baselines3's ``MlpPolicy`` (tanh) and DQN's Q-network (relu) are; it is tied to one fleet size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..envs.common import Layout
from ..traces.errors import HandrailError
from .fields import replica_slice

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the replica scorer: a field, or the product of two, and what is done to it.

    A global field counts for every replica alike; it is of use in a product, or below a hidden layer.
    """

    fields: tuple[str, ...]
    transform: Literal["identity", "log1p"] = "identity"

    @property
    def label(self) -> str:
        """``drain_s``, ``drain_s*prompt_ktokens`` or ``log1p(drain_s)``."""
        product = "*".join(self.fields)
        return product if self.transform == "identity" else f"{self.transform}({product})"


class FeatureMap:
    """Turns an observation into one row of features a replica, before normalisation.

    Raises:
        HandrailError: A feature names no field of the layout, or is not of one or two fields.
    """

    def __init__(self, layout: Layout, features: Sequence[Feature]) -> None:
        names = [f.name for f in layout.replica_fields] + [f.name for f in layout.global_fields]
        for feature in features:
            if not 1 <= len(feature.fields) <= 2:
                raise HandrailError(f"a feature is of one field or a product of two, got {feature.fields}")
            for name in feature.fields:
                if name not in names:
                    raise HandrailError(f"the observation has no field {name!r}; it has {', '.join(names)}")
        self.features = tuple(features)
        self._width = len(layout.replica_fields)
        self._block = self._width * layout.n_replicas
        ones = len(names)
        self._extended = np.ones((layout.n_replicas, ones + 1))
        self._first = np.array([names.index(f.fields[0]) for f in features], dtype=np.intp)
        self._second = np.array([names.index(f.fields[1]) if len(f.fields) == 2 else ones for f in features], np.intp)
        self._has_products = bool((self._second != ones).any())
        self._logged = np.array([i for i, f in enumerate(features) if f.transform == "log1p"], dtype=np.intp)

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features, shape (n_replicas, n_features), a fresh float64 array."""
        extended = self._extended
        extended[:, : self._width] = observation[: self._block].reshape(-1, self._width)
        extended[:, self._width : -1] = observation[self._block :]
        rows = extended.take(self._first, axis=1)
        if self._has_products:
            rows *= extended.take(self._second, axis=1)
        if self._logged.size:
            rows[:, self._logged] = np.log1p(rows[:, self._logged])
        return rows


def scorer_shapes(n_features: int, hidden: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the replica scorer's tensors, in the order of its flat parameter vector."""
    shapes: dict[str, tuple[int, ...]] = {"linear": (n_features,)}
    width = n_features
    for i, size in enumerate(hidden):
        shapes[f"hidden.{i}.weight"] = (size, width)
        shapes[f"hidden.{i}.bias"] = (size,)
        width = size
    if hidden:
        shapes["output"] = (width,)
    return shapes


def unflatten(vector: ArrayLike, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]]:
    """Cut a flat parameter vector into named tensors.

    Raises:
        HandrailError: The vector's length is not the sum of the tensors' sizes.
    """
    flat = np.asarray(vector, dtype=np.float64)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if flat.shape != (sum(sizes),):
        raise HandrailError(f"the parameter vector has shape {flat.shape}, expected ({sum(sizes)},)")
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


class ReplicaScorer:
    """One score a replica: ``z @ linear``, plus ``tanh`` layers over the same features where there are any.

    ``z = (features - mean) / std``. The linear part beside the hidden layers lets a search start at any linear rule
    (weights 0 above the hidden layers). Sums run in a fixed order without BLAS, so that equal rows get equal scores
    wherever they stand and a run repeats bit for bit on any machine.

    Args:
        layout: Layout of the observations; fields are found by name, so it may have more fields or another fleet size.
        features: The scorer's inputs, in the order of ``mean``, ``std`` and the tensors.
        mean: Shape (n_features,).
        std: Shape (n_features,), positive.
        tensors: As ``scorer_shapes`` names them.

    Raises:
        HandrailError: A field is missing, or a shape is wrong.
    """

    def __init__(
        self,
        layout: Layout,
        features: Sequence[Feature],
        mean: ArrayLike,
        std: ArrayLike,
        tensors: Mapping[str, Floats],
    ) -> None:
        n = len(features)
        depth = sum(name.endswith(".weight") for name in tensors)
        sizes = [tensors[f"hidden.{i}.weight"].shape[0] for i in range(depth) if f"hidden.{i}.weight" in tensors]
        _check_shapes(tensors, scorer_shapes(n, sizes))
        self._features = FeatureMap(layout, features)
        self._up = replica_slice(layout, "up")
        self._mean = _statistic("mean", mean, n, np.float64)
        self._scale = 1.0 / _statistic("std", std, n, np.float64)
        self._linear = np.asarray(tensors["linear"], dtype=np.float64)
        self._hidden = [
            (
                np.asarray(tensors[f"hidden.{i}.weight"], dtype=np.float64),
                np.asarray(tensors[f"hidden.{i}.bias"], dtype=np.float64),
            )
            for i in range(depth)
        ]
        self._output = np.asarray(tensors["output"], dtype=np.float64) if depth else None

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score of each replica, higher is better, shape (n_replicas,)."""
        z = (self._features(observation) - self._mean) * self._scale
        scores = (z * self._linear).sum(axis=1)
        if self._output is not None:
            for weight, bias in self._hidden:
                z = np.tanh(np.einsum("rk,hk->rh", z, weight) + bias)
            scores += (z * self._output).sum(axis=1)
        return scores

    def act(self, observation: NDArray[np.float32]) -> int:
        """The up replica with the highest score; the lowest index wins a tie, and index 0 where none is up."""
        scores = self.scores(observation)
        scores[observation[self._up] == 0.0] = -np.inf
        return int(scores.argmax())


class Mlp:
    """A multi-layer perceptron from the whole observation to one logit (or Q-value) a replica.

    Args:
        layout: Layout of the observations.
        mean: Shape (layout.size,).
        std: Shape (layout.size,), positive.
        clip: Normalised inputs are clipped to +-``clip``.
        activation: Between layers; none after the last.
        tensors: ``layers.0.weight`` of shape (out, in), ``layers.0.bias``, ``layers.1.weight`` ...

    Raises:
        HandrailError: A shape does not fit the layout or the layer before.
    """

    def __init__(
        self,
        layout: Layout,
        mean: ArrayLike,
        std: ArrayLike,
        clip: float,
        activation: Literal["tanh", "relu"],
        tensors: Mapping[str, Floats],
    ) -> None:
        depth = sum(name.endswith(".weight") for name in tensors)
        sizes = [tensors[f"layers.{i}.weight"].shape[0] for i in range(depth - 1) if f"layers.{i}.weight" in tensors]
        _check_shapes(tensors, mlp_shapes(layout.size, sizes, layout.n_replicas))
        self._up = replica_slice(layout, "up")
        self._mean = _statistic("mean", mean, layout.size, np.float32)
        self._scale = np.float32(1.0) / _statistic("std", std, layout.size, np.float32)
        self._clip = np.float32(clip)
        self._relu = activation == "relu"
        self._layers = [
            (
                np.ascontiguousarray(tensors[f"layers.{i}.weight"], dtype=np.float32),
                np.asarray(tensors[f"layers.{i}.bias"], dtype=np.float32),
            )
            for i in range(depth)
        ]

    def scores(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logit (or Q-value) of each replica, shape (n_replicas,)."""
        z = (observation - self._mean) * self._scale
        z = np.minimum(np.maximum(z, -self._clip), self._clip)
        last = len(self._layers) - 1
        for i, (weight, bias) in enumerate(self._layers):
            z = weight.dot(z)
            z += bias
            if i < last:
                z = np.maximum(z, 0.0, out=z) if self._relu else np.tanh(z, out=z)
        return z

    def act(self, observation: NDArray[np.float32]) -> int:
        """The up replica with the highest value; the lowest index wins a tie, and index 0 where none is up."""
        scores = self.scores(observation)
        scores[observation[self._up] == 0.0] = -np.inf
        return int(scores.argmax())


def mlp_shapes(n_inputs: int, hidden: Sequence[int], n_outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the perceptron's tensors."""
    widths = [n_inputs, *hidden, n_outputs]
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(len(widths) - 1):
        shapes[f"layers.{i}.weight"] = (widths[i + 1], widths[i])
        shapes[f"layers.{i}.bias"] = (widths[i + 1],)
    return shapes


def _check_shapes(tensors: Mapping[str, Floats], expected: Mapping[str, tuple[int, ...]]) -> None:
    if set(tensors) != set(expected):
        raise HandrailError(f"the tensors are {sorted(tensors)}, expected {sorted(expected)}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise HandrailError(f"tensor {name!r} has shape {tensors[name].shape}, expected {shape}")


def _statistic(name: str, values: ArrayLike, n: int, dtype: type[np.floating]) -> Floats:
    array = np.asarray(values, dtype=dtype)
    if array.shape != (n,):
        raise HandrailError(f"the observation statistic {name!r} has {array.size} values, expected {n}")
    if name == "std" and not (array > 0).all():
        raise HandrailError(f"the observation statistic {name!r} must be positive everywhere")
    return array
