"""What every controller is: it decides at intervals which arm of its ladder is in force."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

from ..arms import Arm
from ..layers import fork_containers


class IntervalStats(NamedTuple):
    """What happened since the last decision, to one tenant (tier: to all).

    Attributes:
        accesses: Demand accesses.
        misses: Of these, those that were fetched or waited for.
        latency_sum_s: Access latency that accrued: hits, and what waiting accesses waited in the interval [s].
        issued: Prefetches issued.
        useful, late, useless: Prefetches that settled so.
        polluted: Misses on what a prefetch had pushed out.
        utilisation: Share of the backing tier's time in use.
        queueing_delay: What a fetch would wait now at the backing tier, over an unloaded miss.
        miss_s: An unloaded miss [s].
    """

    accesses: int
    misses: int
    latency_sum_s: float
    issued: int
    useful: int
    late: int
    useless: int
    polluted: int
    utilisation: float
    queueing_delay: float
    miss_s: float


class Controller(ABC):
    """Chooses among arms at intervals, for one tenant or for all at once.

    Attributes:
        name: Its name on the command line.
        ladder: The arms that it chooses among.
    """

    name: ClassVar[str]

    def __init__(self, ladder: tuple[Arm, ...]) -> None:
        self.ladder = ladder

    def fork(self) -> Self:
        """A controller that goes on alike and apart."""
        return fork_containers(self)

    @abstractmethod
    def choose(self, seen: IntervalStats | None) -> int:
        """The place on the ladder that is in force until the next call; ``seen`` is None at the start."""
