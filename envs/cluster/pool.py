"""What jobs run on: the interface of a resource pool, and the simplest one, interchangeable processors.

`machine_pool.MachinePool` has the same interface over machines with GPUs, processors and memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from copy import copy
from math import inf
from typing import Any, Self

import numpy as np

from .demand import MILLI, Demand

Release = tuple[float, Any]
"""(expected end in seconds, allocation) of a running job."""


class Reservation(ABC):
    """When and where a job that does not fit now will start, if running jobs end when expected and nothing new starts.

    Attributes:
        at_s: The start, in simulated seconds; +inf if the job never fits.
    """

    __slots__ = ("at_s",)

    at_s: float

    @abstractmethod
    def fits_beside(self, demand: Demand) -> bool:
        """Whether ``demand`` fits now on capacity that the reservation does not need when it starts."""

    @abstractmethod
    def delay_s(self, demand: Demand, end_s: float) -> float:
        """By how much the reservation slips if ``demand`` starts now and ends at ``end_s``, in seconds.

        Exact for processors; an upper bound where machines differ in what is free on them.
        """


class ResourcePool(ABC):
    """Capacity, and what is free of it.

    Attributes:
        size: Capacity in the unit of a job's size: GPUs where the machines have any, else processors.
        free_size: What is free of it on machines that are up.
        n_machines: How many machines can fail on their own; 0 where processors are interchangeable.
    """

    size: float
    free_size: float
    n_machines: int

    @abstractmethod
    def fork(self) -> Self:
        """An independent pool in the same state; allocations of the one are good in the other."""

    def reseed(self, rng: np.random.Generator) -> None:  # noqa: B027  (most pools choose nothing at random)
        """Draw the seeds of random choices to come anew."""

    @abstractmethod
    def can_ever_fit(self, demand: Demand) -> bool:
        """Whether it fits the empty cluster with every machine up."""

    @abstractmethod
    def fits(self, demand: Demand) -> bool:
        """Whether it fits now."""

    @abstractmethod
    def place(self, demand: Demand, spare: Reservation | None = None) -> Any:
        """Take resources as the placement policy says; return the allocation, or None where it does not fit.

        Args:
            demand: What to place.
            spare: Take only what this reservation leaves over.
        """

    @abstractmethod
    def release(self, allocation: Any) -> None:
        """Give back what ``place`` took."""

    @abstractmethod
    def reserve(self, demand: Demand, now_s: float, releases: Sequence[Release]) -> Reservation:
        """The earliest start of ``demand``, given the running jobs' expected ends (each >= ``now_s``, in order)."""

    @abstractmethod
    def machines_of(self, allocation: Any) -> tuple[int, ...]:
        """The machines of an allocation, each once."""

    @abstractmethod
    def speed(self, allocation: Any) -> float:
        """Speed of the slowest machine of an allocation."""

    @abstractmethod
    def speed_slowed(self, allocation: Any, factor_of: Mapping[int, float]) -> float:
        """The same where work on some machines takes ``factor_of`` times as long."""

    @abstractmethod
    def set_down(self, machine: int) -> None:
        """Take a machine out of service; what runs there must be released by the caller."""

    @abstractmethod
    def set_up(self, machine: int) -> None:
        """Put a machine back into service."""

    @abstractmethod
    def fragmentation(self) -> float:
        """Share of the free GPU capacity that no typical job can use, in [0, 1]."""


class ProcessorReservation(Reservation):
    """A reservation on interchangeable processors.

    Attributes:
        at_s: See :class:`Reservation`.
        processors: How many the reserved job takes.
        extra: Processors free at ``at_s`` beyond those: what a job that runs past it may take (EASY's extra nodes).
        times_s: Times at which processors come free, rising, the present first.
        free: Processors free from each of these on.
    """

    __slots__ = ("extra", "free", "processors", "times_s")

    def __init__(self, at_s: float, processors: int, extra: int, times_s: Sequence[float], free: Sequence[int]) -> None:
        self.at_s = at_s
        self.processors = processors
        self.extra = extra
        self.times_s = times_s
        self.free = free

    def fits_beside(self, demand: Demand) -> bool:
        return demand.tasks <= self.extra and demand.tasks <= self.free[0]

    def delay_s(self, demand: Demand, end_s: float) -> float:
        if end_s <= self.at_s or demand.tasks <= self.extra:
            return 0.0
        # Without the candidate's own end: when enough comes free for both at once.
        i = bisect_left(self.free, self.processors + demand.tasks)
        both_s = self.times_s[i] if i < len(self.times_s) else inf
        return min(end_s, both_s) - self.at_s


class ProcessorPool(ResourcePool):
    """``processors`` interchangeable processors; a job of n tasks takes n of them, wherever they are.

    An allocation is the number of processors.
    """

    def __init__(self, processors: int) -> None:
        self.size = float(processors)
        self.n_machines = 0
        self._free = processors
        self._all = processors

    def fork(self) -> Self:
        return copy(self)

    @property
    def free_size(self) -> float:  # type: ignore[override]
        """Processors that are free."""
        return float(self._free)

    @property
    def free_processors(self) -> int:
        """Processors that are free, as a whole number."""
        return self._free

    def can_ever_fit(self, demand: Demand) -> bool:
        return demand.tasks <= self._all and demand.gpu_milli == 0 and demand.cpu_milli <= MILLI

    def fits(self, demand: Demand) -> bool:
        return demand.tasks <= self._free

    def place(self, demand: Demand, spare: Reservation | None = None) -> int | None:
        tasks = demand.tasks
        if tasks > self._free or (spare is not None and not spare.fits_beside(demand)):
            return None
        self._free -= tasks
        return tasks

    def release(self, allocation: int) -> None:
        self._free += allocation

    def reserve(self, demand: Demand, now_s: float, releases: Sequence[Release]) -> ProcessorReservation:
        times_s, free = [now_s], [self._free]
        total = self._free
        for end_s, processors in releases:
            total += processors
            if end_s == times_s[-1]:
                free[-1] = total
            else:
                times_s.append(end_s)
                free.append(total)
        i = bisect_left(free, demand.tasks)
        if i == len(free):
            return ProcessorReservation(inf, demand.tasks, self._free, times_s, free)
        return ProcessorReservation(times_s[i], demand.tasks, free[i] - demand.tasks, times_s, free)

    def machines_of(self, allocation: int) -> tuple[int, ...]:
        return ()

    def speed(self, allocation: int) -> float:
        return 1.0

    def speed_slowed(self, allocation: int, factor_of: Mapping[int, float]) -> float:
        return 1.0

    def withdraw(self, processors: int) -> None:
        """Take processors out of service, or put back a negative number.

        Until enough is released, less than none may be free.
        """
        self._free -= processors

    def set_down(self, machine: int) -> None:
        raise IndexError(f"interchangeable processors have no machine {machine}")

    def set_up(self, machine: int) -> None:
        raise IndexError(f"interchangeable processors have no machine {machine}")

    def fragmentation(self) -> float:
        return 0.0
