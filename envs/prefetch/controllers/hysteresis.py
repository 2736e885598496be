"""Off while the backing tier is busy, on while it is not.

Jamilan et al., "Limoncello: Prefetchers for Scale", ASPLOS'24: prefetchers are turned off above 80 % of the memory
bandwidth and on again below 60 %. Here a second signal is treated alike, the queueing delay at the tier, since a tier
with a latency of its own can have long queues in bursts at a moderate utilisation.
"""

from __future__ import annotations

from ..arms import OFF, Arm
from ..config import HysteresisConfig
from .base import Controller, IntervalStats

_OFF, _ON = 0, 1


class HysteresisController(Controller):
    """Two places: ``none`` and one arm, which is in force at the start.

    Either signal above its upper threshold turns off; both below their lower ones turn on again; between them all stays
    as it is.
    """

    name = "hysteresis"

    def __init__(self, arm: Arm, config: HysteresisConfig) -> None:
        super().__init__((Arm(OFF, 0), arm))
        self._config = config
        self._place = _ON

    def choose(self, seen: IntervalStats | None) -> int:
        if seen is not None:
            limits = self._config
            if seen.utilisation > limits.off_above or seen.queueing_delay > limits.off_above_delay:
                self._place = _OFF
            elif seen.utilisation < limits.on_below and seen.queueing_delay < limits.on_below_delay:
                self._place = _ON
        return self._place
