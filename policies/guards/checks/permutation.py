"""Exact one-sided permutation tests on a few block means: no distribution is assumed of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST_PAIRS = 12
"""Most differences of a sign-flip test (4,096 flips)."""

MOST_BLOCKS = 8
"""Most blocks of each kind in a two-sample test (12,870 divisions)."""

_TIE = 1e-12


def sign_flip_p(differences: Sequence[float]) -> float:
    """p-value of a mean above 0, for differences that are as likely either way round if there is no effect.

    The share of all sign changes whose sum is at least the one seen (Fisher 1935). 1 where there are none.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0:
        return 1.0
    sums = _signs(values.size) @ values
    return float(np.mean(sums >= values.sum() - _TIE * np.abs(values).sum()))


def two_sample_p(treated: Sequence[float], control: Sequence[float]) -> float:
    """p-value of a higher mean of ``treated``, for values that could be of either kind if there is no effect.

    The share of all divisions into groups of these sizes whose first mean is at least the one seen. 1 where one is
    empty.
    """
    n, values = len(treated), np.array([*treated, *control], dtype=np.float64)
    if n in (0, values.size):
        return 1.0
    sums = values[_choices(values.size, n)].sum(axis=1)
    return float(np.mean(sums >= values[:n].sum() - _TIE * np.abs(values).sum()))


def smallest_p(n_treated: int, n_control: int) -> float:
    """Smallest p-value that :func:`two_sample_p` can reach with so many values."""
    return 1.0 / comb(n_treated + n_control, n_treated)


@lru_cache(maxsize=MOST_PAIRS)
def _signs(n: int) -> NDArray[np.float64]:
    bits = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    return 1.0 - 2.0 * bits.astype(np.float64)


@lru_cache(maxsize=4 * MOST_BLOCKS)
def _choices(n: int, k: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(n), k)), dtype=np.intp)
