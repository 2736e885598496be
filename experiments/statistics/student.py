"""Quantiles of Student's t distribution, so that intervals need no SciPy."""

from __future__ import annotations

import math

_EPSILON = 1e-15
_TINY = 1e-300
_MAX_TERMS = 10_000


def student_t_quantile(probability: float, degrees: float) -> float:
    """The t with P(T <= t) = ``probability`` for ``degrees`` > 0 degrees of freedom.

    Raises:
        ValueError: The probability is not in (0, 1) or the degrees are not positive.
    """
    if not 0.0 < probability < 1.0 or not degrees > 0:
        raise ValueError(f"no t quantile for probability {probability:g} and {degrees:g} degrees of freedom")
    if probability == 0.5:
        return 0.0
    tail = min(probability, 1.0 - probability)
    low, high = 0.0, 1.0
    while _upper_tail(high, degrees) > tail:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if _upper_tail(middle, degrees) > tail else (low, middle)
    return math.copysign(high, probability - 0.5)


def _upper_tail(t: float, degrees: float) -> float:
    return 0.5 * _incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Lentz's method)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    total = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            total *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return math.exp(log_front) * total / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
