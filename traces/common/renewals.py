"""Arrival times of a renewal process."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def renewals(length: float, rate: float, cv: float, rng: np.random.Generator) -> Floats:
    """Times in [0, length) of a renewal process with Gamma inter-arrivals of mean 1 / rate and the given CV."""
    times: list[Floats] = []
    now = 0.0
    while now < length:
        expected = (length - now) * rate
        count = int(expected + 4 * cv * math.sqrt(expected)) + 16
        chunk = now + np.cumsum(rng.gamma(1 / cv**2, cv**2 / rate, count))
        times.append(chunk)
        now = float(chunk[-1])
    merged = np.concatenate(times) if times else np.zeros(0)
    return merged[merged < length]
