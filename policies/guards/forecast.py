"""What would come of an action: played forward in forks of the live simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Forecast(Protocol):
    """Says what actions would cost from the present decision on."""

    def costs(self, actions: Sequence[int], horizon_s: float, futures: int) -> NDArray[np.float64]:
        """Cost charged over ``horizon_s`` seconds, shape (len(actions), futures); a column is one and the same future."""
        ...
