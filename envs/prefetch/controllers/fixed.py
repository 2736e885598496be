"""No control: one arm, always."""

from __future__ import annotations

from ..arms import Arm
from .base import Controller, IntervalStats


class FixedController(Controller):
    """Keeps its one arm in force."""

    name = "fixed"

    def __init__(self, arm: Arm) -> None:
        super().__init__((arm,))

    def choose(self, seen: IntervalStats | None) -> int:
        return 0
