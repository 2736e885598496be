"""Daily and weekly cycles of arrivals: how many are expected by which hour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WEEK_HOURS = 7 * 24


def expected_arrivals(
    per_hour: NDArray[np.float64], first_hour: int, last_hour: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Knots by which a process of rate 1 is warped to a weekly cycle (linear between them).

    Args:
        per_hour: Expected arrivals in each hour of the week from Monday 0:00 on, shape (168,).
        first_hour: Hour from which on arrivals are wanted, counted from a Monday 0:00; may be negative.
        last_hour: Hour until which they are wanted.

    Returns:
        Hours from first to last, rising by 1, and the arrivals expected from the first until then, both of shape (k,).
        An hour without arrivals leaves the second flat; ``numpy.interp(times, expected, hours)`` skips it.
    """
    hours = np.arange(first_hour, last_hour + 1)
    return hours, np.concatenate(([0.0], np.cumsum(per_hour[hours[:-1] % WEEK_HOURS])))
