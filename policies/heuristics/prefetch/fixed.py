"""One arm, always."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....envs.common import Layout
from ....envs.prefetch.arms import Arm
from ....envs.prefetch.config import PREFETCHERS
from ....traces.errors import HandrailError
from .base import ORACLE, PrefetchHeuristic


class FixedArm(PrefetchHeuristic):
    """Takes the arm of its name, whatever happens. There is a class of its own for each arm, see :func:`fixed_arm`.

    Raises:
        HandrailError: The menu has no such arm, or is not as long as the layout's rows.
    """

    needs_observation = False
    arm: ClassVar[Arm]

    def __init__(self, layout: Layout, seed: int = 0, tie_seed: int | None = None, **settings: Any) -> None:
        super().__init__(layout, seed, tie_seed, **settings)
        self.knows = "true" if self.arm.prefetcher == ORACLE else "none"
        if len(self.arms) != layout.n_replicas:
            raise HandrailError(
                f"the menu has {len(self.arms)} arms and the observation {layout.n_replicas}; name the menu's arms"
            )
        if self.arm not in self.arms:
            menu = ", ".join(arm.label for arm in self.arms)
            raise HandrailError(f"the menu has no arm {self.arm.label}; add it, or choose one of {menu}")
        self._row = self.arms.index(self.arm)

    def choose(self, observation: NDArray[np.float32]) -> int:
        return self._row

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arm: classes that are made while running cannot be found by their name."""
        return _unfilled, (self.arm,), self.__dict__


@cache
def _class_of(arm: Arm) -> type[FixedArm]:
    return type("FixedArm", (FixedArm,), {"name": arm.label, "arm": arm, "__module__": __name__})


def _unfilled(arm: Arm) -> FixedArm:
    """An object of the arm's class that pickle fills with what it held."""
    made = _class_of(arm)
    return made.__new__(made)


def fixed_arm(text: str) -> type[FixedArm]:
    """The policy that takes the arm ``text`` always: ``none``, ``NAME`` (degree 1) or ``NAME:DEGREE``.

    Raises:
        HandrailError: It is none of these, or there is no such prefetcher.
    """
    arm = Arm.parse(text)
    if arm.prefetcher not in PREFETCHERS:
        raise HandrailError(f"{arm.prefetcher!r} is no prefetcher; choose among {', '.join(PREFETCHERS)}")
    return _class_of(arm)
