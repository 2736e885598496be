"""A stress: something that goes wrong in a replay, named, seeded, composable, and the same idea in all domains.

Every stress acts within ``[onset, end)``, shares of the replayed window (first to last arrival). Before the onset a
replay is what it is without the stress, to the bit.

A replay under stress is put together in this order (see :func:`~handrail.experiments.scenarios.run.run_stressed`):

1. ``on_trace``: shifts change what arrives.
2. ``on_system``: faults of the system go into its config.
3. ``on_policy``: a broken policy takes the learned policy's place from onset to end.
4. ``on_sensors``: what the learned policy (and the checks, and the fallback, by reach) sees and hears.

Parts of a composed stress act from left to right within each of the four; each draws from streams named after itself,
so that adding a part leaves what the others draw as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from ...envs.common import Layout
from ...traces.errors import HandrailError
from .context import StressContext
from .sensors import Sensors

Kind = Literal["none", "shift", "system", "sensor", "policy", "composed"]


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a broken policy is made from.

    Attributes:
        layout: Layout of the observations.
        make: From what ``--policy`` takes to a policy for the replayed system.
        fallback: Builds the run's fallback.
    """

    layout: Layout
    make: Callable[[str], Any]
    fallback: Callable[[], Any]


DEFAULT_ONSET, DEFAULT_END = 1 / 3, 2 / 3


@dataclass(frozen=True, slots=True)
class Stress:
    """Nothing goes wrong; the base of all that does. Frozen, hashable, picklable.

    Each method gives its argument back unless the stress acts there. None of them changes its argument.

    Attributes:
        onset: Where it begins, as a share of the replayed window, in [0, 1).
        end: Where it ends (exclusive), in (onset, 1]. A stress of a set length (flash crowd) ends earlier.

    Raises:
        HandrailError: ``onset`` and ``end`` are no such shares.
    """

    onset: float = DEFAULT_ONSET
    end: float = DEFAULT_END
    kind: ClassVar[Kind] = "none"

    def __post_init__(self) -> None:
        if not 0.0 <= self.onset < self.end <= 1.0:
            raise HandrailError(
                f"a stress needs 0 <= onset < end <= 1 as shares of the window, got {self.onset:g}-{self.end:g}"
            )

    @property
    def label(self) -> str:
        """The name without onset and end, such as ``load:2``."""
        return "none"

    @property
    def name(self) -> str:
        """What :func:`parse_stress` reads back to this stress; onset and end only where they are not the default."""
        if (self.onset, self.end) == (DEFAULT_ONSET, DEFAULT_END):
            return self.label
        return f"{self.label}@{self.onset:g}-{self.end:g}"

    @property
    def severity(self) -> float | None:
        """The one number that says how bad it is; None where there is none."""
        return None

    @property
    def parts(self) -> tuple[Stress, ...]:
        """The stresses that it is made of: itself alone, or none where nothing goes wrong."""
        return () if self.kind == "none" else (self,)

    def window_s(self, context: StressContext) -> tuple[float, float]:
        """When it acts, [start, end) in simulated seconds: the truth that detection is timed against."""
        return context.at_s(self.onset), context.at_s(self.end)

    def at(self, onset: float, end: float) -> Self:
        """The same stress at another time.

        Raises:
            HandrailError: ``onset`` and ``end`` are no shares in order.
        """
        return replace(self, onset=onset, end=end)

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        """The trace that arrives."""
        return trace

    def on_system(self, system: Any, context: StressContext) -> Any:
        """The system's config with its faults in.

        Raises:
            HandrailError: The fault has no meaning in this domain or on this system.
        """
        return system

    def on_policy(self, policy: Any, context: StressContext, workshop: Workshop) -> Any:
        """The learned policy, or what takes its place within the window."""
        return policy

    def on_sensors(self, sensors: Sensors, context: StressContext) -> Sensors:
        """What each party sees and hears."""
        return sensors


@dataclass(frozen=True, slots=True)
class Composed(Stress):
    """Several stresses at once; ``onset`` and ``end`` span all of them.

    Attributes:
        members: The stresses, none of which is itself composed.
    """

    members: tuple[Stress, ...] = ()
    kind: ClassVar[Kind] = "composed"

    @property
    def label(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return "+".join(part.name for part in self.members)

    @property
    def parts(self) -> tuple[Stress, ...]:
        return self.members

    def window_s(self, context: StressContext) -> tuple[float, float]:
        windows = [part.window_s(context) for part in self.members]
        return min(start for start, _ in windows), max(end for _, end in windows)

    def at(self, onset: float, end: float) -> Self:
        members = tuple(part.at(onset, end) for part in self.members)
        return replace(self, onset=onset, end=end, members=members)

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        for part in self.members:
            trace = part.on_trace(trace, context)
        return trace

    def on_system(self, system: Any, context: StressContext) -> Any:
        for part in self.members:
            system = part.on_system(system, context)
        return system

    def on_policy(self, policy: Any, context: StressContext, workshop: Workshop) -> Any:
        for part in self.members:
            policy = part.on_policy(policy, context, workshop)
        return policy

    def on_sensors(self, sensors: Sensors, context: StressContext) -> Sensors:
        for part in self.members:
            sensors = part.on_sensors(sensors, context)
        return sensors


NO_STRESS = Stress()


def compose(*stresses: Stress) -> Stress:
    """One stress of several, in the order given; parts of composed ones are taken singly.

    Raises:
        HandrailError: The same stress occurs twice.
    """
    parts = tuple(part for stress in stresses for part in stress.parts)
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise HandrailError(f"the stress {name} occurs twice; give it once, or at another time (NAME@ONSET-END)")
    if not parts:
        return NO_STRESS
    if len(parts) == 1:
        return parts[0]
    return Composed(min(p.onset for p in parts), max(p.end for p in parts), parts)
