"""Split-conformal thresholds: valid at any number of calibration scores, whatever their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError


def conformal_quantile(scores: Sequence[float] | NDArray[np.floating], alpha: float) -> float:
    """The threshold that a new score, exchangeable with these, exceeds with probability at most ``alpha``.

    The ceil((n + 1)(1 - alpha))-th smallest of n scores (Vovk et al. 2005).

    Raises:
        HandrailError: ``alpha`` is not between 0 and 1, a score is no number, or there are too few of them.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if not 0.0 < alpha < 1.0:
        raise HandrailError(f"a conformal level lies between 0 and 1, got {alpha}")
    if not np.isfinite(values).all():
        raise HandrailError("a calibration score is no finite number; look for broken observations")
    rank = math.ceil((values.size + 1) * (1.0 - alpha))
    if rank > values.size:
        needed = math.ceil(1.0 / alpha) - 1
        raise HandrailError(
            f"a conformal level of {alpha} needs at least {needed} calibration scores, got {values.size}"
        )
    return float(values[rank - 1])
