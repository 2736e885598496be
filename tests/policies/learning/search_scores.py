"""Scores for search tests, at module level so that worker processes can import them."""

from __future__ import annotations

import numpy as np

from handrail.policies.learning.cem import Candidate

TARGET = np.array([1.0, -2.0, 0.5])


def quadratic(candidate: Candidate) -> float:
    """Squared distance from ``TARGET``; lowest value 0."""
    vector, _ = candidate
    return float(((vector - TARGET) ** 2).sum())


def noisy_quadratic(candidate: Candidate) -> float:
    """The same with noise that is common to all candidates of an iteration."""
    vector, iteration = candidate
    shift = np.random.default_rng(iteration).standard_normal(3) * 0.1
    return float(((vector - TARGET - shift) ** 2).sum())


def partly_undefined(candidate: Candidate) -> float:
    """Not a number on half of the space that the minimum is not in."""
    vector, _ = candidate
    return float("nan") if vector[0] < 0 else quadratic(candidate)


def failing(candidate: Candidate) -> float:
    """Raises."""
    raise ValueError("the replay failed")
