"""Ridge regression of costs of which the largest are known only to be large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 5
"""Parts of the data that cross-validation leaves out in turn."""

PASSES = 20
"""Times that a fit looks again at which large costs it already puts high enough."""

LEAST_RIDGE = 1e-6
"""Ridge of the prior's own size."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of a regression.

    Attributes:
        inputs: Shape (rows, n).
        costs: Shape (rows,).
        most: Costs of this and more are not told apart, shape (rows,).
    """

    inputs: Floats
    costs: Floats
    most: Floats

    def __len__(self) -> int:
        return len(self.costs)

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Those of all parts, in order."""
        return cls(
            np.concatenate([part.inputs for part in parts]),
            np.concatenate([part.costs for part in parts]),
            np.concatenate([part.most for part in parts]),
        )

    def targets(self, predicted: Floats) -> Floats:
        """What a prediction is held against: where the cost is ``most`` or more, any prediction of that is right."""
        return np.where(self.costs < self.most, self.costs, np.maximum(self.most, predicted))

    def error(self, weights: Floats) -> float:
        """Squared error of predictions by these weights."""
        predicted = self.inputs @ weights
        return float(np.square(predicted - self.targets(predicted)).sum())


def fit(samples: Samples, ridge: float, prior: Floats) -> Floats:
    """Weights of the inputs, shape (n,), drawn towards a multiple of ``prior``, whose size is fitted too.

    Large costs are a floor for what is predicted (a censored regression, fitted by taking predictions above the floor
    for the cost, over and over). Without that a linear fit is spent on how bad the worst rows are.

    Args:
        samples: What is fitted.
        ridge: Added to the sum of squares of each input, as a share of it.
        prior: Direction of the weights that costs nothing, shape (n,); all zeros for none.
    """
    inputs = np.column_stack((samples.inputs, samples.inputs @ prior))
    size = np.sqrt(np.square(inputs).sum(axis=0))
    used = np.flatnonzero(size > 1e-9 * size.max())
    scaled = inputs[:, used] / size[used]
    penalty = np.where(used == len(prior), LEAST_RIDGE, ridge)
    matrix = scaled.T @ scaled + np.diag(penalty)
    own = np.zeros(len(used))
    for _ in range(PASSES):
        own = np.linalg.solve(matrix, scaled.T @ samples.targets(scaled @ own))
    weights = np.zeros(len(size))
    weights[used] = own / size[used]
    return weights[:-1] + weights[-1] * prior


def best_ridge(parts: Sequence[Samples], ridges: Sequence[float], prior: Floats) -> float:
    """The ridge with the smallest error in parts that a fit has not seen; the largest where there is one part only."""
    folds = [Samples.joined(parts[k::FOLDS]) for k in range(min(FOLDS, len(parts)))]
    if len(folds) < 2:
        return max(ridges)
    errors = np.zeros(len(ridges))
    for k, left_out in enumerate(folds):
        seen = Samples.joined(folds[:k] + folds[k + 1 :])
        errors += [left_out.error(fit(seen, ridge, prior)) for ridge in ridges]
    return ridges[int(np.argmin(errors))]
