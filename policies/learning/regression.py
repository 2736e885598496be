"""Ridge regression from sums, so that replays in several processes need not hand over their decisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 5
"""Parts of the data that cross-validation leaves out in turn."""


class Regression:
    """Sums of a least-squares fit, to which others can be added.

    Attributes:
        gram: Sum of the products of inputs, shape (n, n).
        moment: Sum of the products of inputs and targets, shape (n,).
        rows: How many rows were taken in.
    """

    def __init__(self, gram: Floats, moment: Floats, rows: int) -> None:
        self.gram = gram
        self.moment = moment
        self.rows = rows

    @classmethod
    def of(cls, inputs: Floats, targets: Floats) -> Regression:
        """Those of inputs of shape (rows, n) and targets of shape (rows,)."""
        # Summed without BLAS, whose order of summation depends on the machine.
        return cls(np.einsum("di,dj->ij", inputs, inputs), np.einsum("di,d->i", inputs, targets), len(targets))

    def __add__(self, other: Regression) -> Regression:
        return Regression(self.gram + other.gram, self.moment + other.moment, self.rows + other.rows)

    def __sub__(self, other: Regression) -> Regression:
        return Regression(self.gram - other.gram, self.moment - other.moment, self.rows - other.rows)

    def solve(self, ridge: float, prior: Floats) -> Floats:
        """Weights of the inputs, shape (n,), drawn towards a multiple of ``prior``, whose size is fitted too.

        Args:
            ridge: Added to the sum of squares of each input, as a share of it.
            prior: Direction of the weights that costs nothing, shape (n,); all zeros for none.
        """
        along = self.gram @ prior
        gram = np.block([[self.gram, along[:, None]], [along[None, :], np.array([[prior @ along]])]])
        moment = np.append(self.moment, prior @ self.moment)
        diagonal = gram.diagonal()
        used = np.flatnonzero(diagonal > 1e-12 * diagonal.max())
        # In units in which every input has the same sum of squares.
        scale = 1.0 / np.sqrt(diagonal[used])
        penalty = np.where(used == len(prior), LEAST_RIDGE, ridge)
        matrix = gram[np.ix_(used, used)] * np.outer(scale, scale) + np.diag(penalty)
        weights = np.zeros(len(diagonal))
        weights[used] = np.linalg.solve(matrix, moment[used] * scale) * scale
        return weights[:-1] + weights[-1] * prior

    def error(self, weights: Floats) -> float:
        """Squared error of these weights, less the sum of the squared targets."""
        return float(weights @ self.gram @ weights - 2.0 * weights @ self.moment)


LEAST_RIDGE = 1e-6
"""Ridge of the prior's own size."""


def best_ridge(parts: Sequence[Regression], ridges: Sequence[float], prior: Floats) -> float:
    """The ridge with the smallest error in parts that a fit has not seen; the largest where there is one part only."""
    folds = [sum(parts[k + FOLDS :: FOLDS], parts[k]) for k in range(min(FOLDS, len(parts)))]
    if len(folds) < 2:
        return max(ridges)
    total = sum(folds[1:], folds[0])
    errors = [sum(fold.error((total - fold).solve(ridge, prior)) for fold in folds) for ridge in ridges]
    return ridges[int(np.argmin(errors))]
