"""Controllers of a standing scheme, by their names on the command line: at each interval they choose which arm is in
force. One file each; to add one, write a class with ``choose`` and list it here."""

from __future__ import annotations

from collections.abc import Callable

from ..arms import OFF, Arm
from ..config import CacheConfig
from .bandit import BanditController
from .base import Controller, IntervalStats
from .feedback import FeedbackController
from .fixed import FixedController
from .hysteresis import HysteresisController


def _standing_arm(config: CacheConfig) -> Arm:
    return Arm(OFF, 0) if config.prefetcher == OFF else Arm(config.prefetcher, config.degree)


def _make_feedback(config: CacheConfig) -> Controller:
    if config.prefetcher == OFF:
        return FixedController(_standing_arm(config))
    return FeedbackController(config.prefetcher, config.feedback)


def _make_hysteresis(config: CacheConfig) -> Controller:
    arm = _standing_arm(config)
    return FixedController(arm) if config.prefetcher == OFF else HysteresisController(arm, config.hysteresis)


_MAKERS: dict[str, Callable[[CacheConfig], Controller]] = {
    FixedController.name: lambda config: FixedController(_standing_arm(config)),
    HysteresisController.name: _make_hysteresis,
    FeedbackController.name: _make_feedback,
    BanditController.name: lambda config: BanditController(config.arms, config.bandit),
}


def make_controller(config: CacheConfig) -> Controller:
    """A fresh controller of the kind that ``config`` names, for one tenant or for all at once.

    Without a prefetcher there is nothing to turn down, so ``hysteresis`` and ``feedback`` are then fixed to ``none``.
    The bandit chooses among the menu, whatever the standing prefetcher.
    """
    return _MAKERS[config.controller](config)


__all__ = [
    "BanditController",
    "Controller",
    "FeedbackController",
    "FixedController",
    "HysteresisController",
    "IntervalStats",
    "make_controller",
]
