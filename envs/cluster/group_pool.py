"""A resource pool that is chosen from by group: one `machine_pool.MachinePool` a group of machines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .config import MachineGroup
from .demand import Demand
from .machine_pool import MachinePool
from .pool import Release, Reservation, ResourcePool

GroupAllocation = tuple[int, Any]
"""(group, the allocation of that group's own pool)."""


class GroupReservation(Reservation):
    """The earliest of the groups' reservations.

    Attributes:
        at_s: See :class:`Reservation`.
        group: The group that it is in.
    """

    __slots__ = ("_inner", "_pool", "group")

    def __init__(self, pool: GroupPool, group: int, inner: Reservation) -> None:
        self._pool = pool
        self._inner = inner
        self.group = group
        self.at_s = inner.at_s

    def fits_beside(self, demand: Demand) -> bool:
        return bool(self.groups_beside(demand).any())

    def groups_beside(self, demand: Demand) -> NDArray[np.bool_]:
        """In which groups ``demand`` fits now without taking what the reservation needs, shape (groups,)."""
        mask = self._pool.groups_that_fit(demand)
        if mask[self.group]:
            mask[self.group] = self._inner.fits_beside(demand)
        return mask

    def spare_in(self, group: int) -> Reservation | None:
        """What has to be left over in ``group``; None where nothing has to be."""
        return self._inner if group == self.group else None

    def delay_s(self, demand: Demand, end_s: float) -> float:
        return 0.0 if end_s <= self.at_s or self.fits_beside(demand) else end_s - self.at_s


class _Releases(Sequence[Release]):
    """The releases of one group, sifted while they are read: a reservation seldom reads them to the end."""

    def __init__(self, releases: Sequence[Release], group: int) -> None:
        self._releases = releases
        self._group = group

    def __iter__(self) -> Iterator[Release]:
        wanted = self._group
        for end_s, (group, inner) in self._releases:
            if group == wanted:
                yield end_s, inner

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


class GroupPool(ResourcePool):
    """Groups of machines, each a pool of its own: a gang's tasks all run in one group.

    A task with more GPUs than a group's machines have is split there, as a pool of these machines alone would.

    Machines are numbered through in the order of the groups. `place` takes the first group in which the job fits;
    `place_in_group` the one that is asked for.

    Args:
        groups: The groups.
        placement: Name of the placement policy within a group.
        seed: Seed of its random choices.
        gpu_types: GPU models, in the order of the bits of ``Demand.types``.

    Attributes:
        pools: The pool of each group.
        speeds: Their machines' speeds.
        running: Jobs placed in each group and not released.
    """

    def __init__(
        self,
        groups: Sequence[MachineGroup],
        placement: str = "best-fit",
        seed: int | np.random.SeedSequence = 0,
        *,
        gpu_types: Sequence[str] = (),
    ) -> None:
        seeds = (seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)).spawn(len(groups))
        self.pools = tuple(
            MachinePool((group,), placement, child, gpu_types=gpu_types)
            for group, child in zip(groups, seeds, strict=True)
        )
        self.speeds = tuple(group.speed for group in groups)
        self.running = [0] * len(groups)
        counts = [pool.n_machines for pool in self.pools]
        self.n_machines = sum(counts)
        self._first_machine = [0, *accumulate(counts[:-1])]
        # Where any group has GPUs, GPUs are what sizes are counted in.
        with_gpus = [i for i, group in enumerate(groups) if group.gpus]
        self._counted = tuple(self.pools[i] for i in with_gpus or range(len(groups)))
        self.size = sum(pool.size for pool in self._counted)

    def fork(self) -> Self:
        twin = copy(self)
        twin.pools = tuple(pool.fork() for pool in self.pools)
        twin._counted = tuple(twin.pools[self.pools.index(pool)] for pool in self._counted)
        twin.running = self.running.copy()
        return twin

    def reseed(self, rng: np.random.Generator) -> None:
        for pool in self.pools:
            pool.reseed(rng)

    @property
    def free_size(self) -> float:  # type: ignore[override]
        """GPUs (processors where no group has GPUs) that are free on machines that are up."""
        return sum(pool.free_size for pool in self._counted)

    def can_ever_fit(self, demand: Demand) -> bool:
        return any(pool.can_ever_fit(demand) for pool in self.pools)

    def fits(self, demand: Demand) -> bool:
        return any(pool.fits(demand) for pool in self.pools)

    def groups_that_fit(self, demand: Demand) -> NDArray[np.bool_]:
        """In which groups ``demand`` fits now, shape (groups,): a fresh array."""
        return np.array([pool.fits(demand) for pool in self.pools])

    def place(self, demand: Demand, spare: GroupReservation | None = None) -> GroupAllocation | None:  # type: ignore[override]
        for group, pool in enumerate(self.pools):
            allocation = pool.place(demand, None if spare is None else spare.spare_in(group))  # type: ignore[arg-type]
            if allocation is not None:
                self.running[group] += 1
                return group, allocation
        return None

    def place_in_group(self, demand: Demand, group: int) -> GroupAllocation | None:
        """Take resources in ``group``; None where it does not fit there."""
        allocation = self.pools[group].place(demand)
        if allocation is None:
            return None
        self.running[group] += 1
        return group, allocation

    def release(self, allocation: GroupAllocation) -> None:
        group, inner = allocation
        self.pools[group].release(inner)
        self.running[group] -= 1

    def reserve(self, demand: Demand, now_s: float, releases: Sequence[Release]) -> GroupReservation:
        best: tuple[int, Reservation] | None = None
        for group, pool in enumerate(self.pools):
            found = pool.reserve(demand, now_s, _Releases(releases, group))
            if best is None or found.at_s < best[1].at_s:
                best = group, found
        assert best is not None
        return GroupReservation(self, *best)

    def machines_of(self, allocation: GroupAllocation) -> tuple[int, ...]:
        group, inner = allocation
        first = self._first_machine[group]
        return tuple(first + machine for machine in self.pools[group].machines_of(inner))

    def speed(self, allocation: GroupAllocation) -> float:
        return self.speeds[allocation[0]]

    def speed_slowed(self, allocation: GroupAllocation, factor_of: Mapping[int, float]) -> float:
        return self.speeds[allocation[0]] / max(factor_of.get(m, 1.0) for m in self.machines_of(allocation))

    def group_of(self, machine: int) -> int:
        """The group of a machine."""
        return bisect_right(self._first_machine, machine) - 1

    def set_down(self, machine: int) -> None:
        group = self.group_of(machine)
        self.pools[group].set_down(machine - self._first_machine[group])

    def set_up(self, machine: int) -> None:
        group = self.group_of(machine)
        self.pools[group].set_up(machine - self._first_machine[group])

    def fragmentation(self) -> float:
        free = self.free_size
        if free <= 0.0:
            return 0.0
        return sum(pool.fragmentation() * pool.free_size for pool in self._counted) / free
