"""Who sees and hears what: the wiring of sensor faults by their reach.

The widest reach acts first. What ``all`` makes of an observation is what the fallback gets; on top of that comes what
``checks`` makes of it, which the guard's checks get; on top of that ``policy``, which the learned policy gets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...policies import Feedback

Reach = Literal["policy", "checks", "all"]
REACHES: tuple[Reach, ...] = get_args(Reach)
"""``policy``: the learned policy alone; ``checks``: policy and checks; ``all``: the fallback too. A last rung that
needs no telemetry is reached by none of them: own books stay true."""


class Distortion(Protocol):
    """One sensor fault during one run; keeps what it needs of the past."""

    def observe(self, observation: NDArray[np.float32], now_s: float) -> NDArray[np.float32]:
        """The observation (shape (layout.size,)) as it is reported; the argument is never written to."""
        ...

    def hear(self, feedback: Feedback) -> Feedback:
        """The feedback as it is reported."""
        ...


class DistortionMaker(Protocol):
    """Makes the distortion of a run."""

    def __call__(self, layout: Layout) -> Distortion:
        """A fresh distortion for observations of ``layout``."""
        ...


@dataclass(frozen=True, slots=True)
class Sensors:
    """The sensor faults of a run, in the order of the stress.

    Attributes:
        makers: Pairs of reach and what makes the distortion.
    """

    makers: tuple[tuple[Reach, DistortionMaker], ...] = ()

    def plus(self, reach: Reach, maker: DistortionMaker) -> Sensors:
        """These, and one more."""
        return replace(self, makers=(*self.makers, (reach, maker)))

    def distortions(self, reach: Reach, layout: Layout) -> tuple[Distortion, ...]:
        """Fresh distortions of exactly that reach, in order."""
        return tuple(maker(layout) for own, maker in self.makers if own == reach)


def observed(chain: tuple[Distortion, ...], observation: Any, now_s: float) -> Any:
    """An observation through a chain of distortions."""
    for distortion in chain:
        observation = distortion.observe(observation, now_s)
    return observation


def heard(chain: tuple[Distortion, ...], feedback: Feedback) -> Feedback:
    """Feedback through a chain of distortions."""
    for distortion in chain:
        feedback = distortion.hear(feedback)
    return feedback
