"""What observations were like in calibration, as numbers: a box, a mean, a whitening matrix, a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from .checks.base import GuardModel
from .checks.positions import positions
from .conformal import conformal_quantile


class NoveltyModel(GuardModel):
    """A box and a Mahalanobis distance over features of the observation, with k features.

    Attributes:
        low, high: Smallest and largest value of each feature in calibration, k of each.
        mean: Their mean.
        whitening: Inverse of the Cholesky factor of their covariance, k rows of k.
        threshold: Distance that a new observation of the same kind exceeds with at most the level's probability.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    threshold: float = Field(ge=0)

    @model_validator(mode="after")
    def _of_one_size(self) -> Self:
        k = len(self.mean)
        if {len(self.low), len(self.high), len(self.whitening), *map(len, self.whitening)} != {k}:
            raise ValueError(f"low, high and the rows and columns of whitening must be as many as mean has ({k})")
        return self


class FeatureReader:
    """Features of an observation: global fields as they are, per-replica fields by their mean and their largest value.

    All through arcsinh, which is linear near 0 and grows like a logarithm, since most fields have heavy tails.
    """

    def __init__(self, layout: Layout, global_fields: Sequence[str], replica_fields: Sequence[str]) -> None:
        for field in global_fields:
            layout.scalar(layout.low, field)  # an unknown field is the user's mistake now
        for field in replica_fields:
            layout.replica(layout.low, field)
        self._globals = positions(layout, global_fields)
        self._replicas = positions(layout, replica_fields)
        self._shape = (len(replica_fields), layout.n_replicas)
        self.size = len(global_fields) + 2 * len(replica_fields)
        if self.size == 0:
            raise HandrailError("novelty needs at least one field; name global_fields or replica_fields")

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features, shape (size,)."""
        out = np.empty(self.size)
        n, fields = self._globals.size, self._shape[0]
        out[:n] = observation[self._globals]
        if fields:
            by_field = observation[self._replicas].reshape(self._shape)
            np.add.reduce(by_field, axis=1, out=out[n : n + fields])
            out[n : n + fields] /= self._shape[1]
            np.maximum.reduce(by_field, axis=1, out=out[n + fields :])
        return np.arcsinh(out, out=out)


def fit_novelty_model(features: NDArray[np.float64], alpha: float, seed: int = 0) -> NoveltyModel:
    """Fit the distance on one half of the calibration data, drawn at random, and its threshold on the other.

    The covariance is shrunk towards its diagonal by the weight of Schaefer and Strimmer (2005), and each feature's
    standard deviation is at least a thousandth of the scale, so that a feature that never moved has a distance too.

    Args:
        features: Shape (n, k).
        alpha: Share of new observations of the same kind that may exceed the threshold.
        seed: Of the division.

    Raises:
        HandrailError: There are too few rows for ``alpha``, or one is not finite.
    """
    if features.ndim != 2 or len(features) < 4 or not np.isfinite(features).all():
        raise HandrailError(f"novelty needs at least 4 rows of finite features, got shape {features.shape}")
    order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(features))
    fitted, held_out = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
    mean = fitted.mean(axis=0)
    scale = np.maximum(fitted.std(axis=0), 1e-3 * np.maximum(np.abs(mean), 1.0))
    z = (fitted - mean) / scale
    correlation = _shrunk(z)
    whitening = np.linalg.inv(np.linalg.cholesky(correlation)) / scale
    distances = np.linalg.norm((held_out - mean) @ whitening.T, axis=1)
    return NoveltyModel(
        low=tuple(features.min(axis=0).tolist()),
        high=tuple(features.max(axis=0).tolist()),
        mean=tuple(mean.tolist()),
        whitening=tuple(tuple(row) for row in whitening.tolist()),
        threshold=conformal_quantile(distances, alpha),
    )


def _shrunk(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second moments of ``z`` with what is off the diagonal shrunk; positive definite."""
    n, k = z.shape
    moments = z.T @ z / n
    variance = ((z**2).T @ (z**2) / n - moments**2) / max(n - 1, 1)
    off = ~np.eye(k, dtype=bool)
    square = float((moments[off] ** 2).sum())
    weight = min(max(float(variance[off].sum()) / square, 0.0), 1.0) if square > 0.0 else 1.0
    weight = max(weight, 1e-3)
    shrunk = moments * np.where(off, 1.0 - weight, 1.0)
    shrunk[np.diag_indices(k)] = np.maximum(shrunk.diagonal(), 1e-3)
    return shrunk
