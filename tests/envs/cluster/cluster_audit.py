"""A resource pool that keeps books of its own about another one, and refuses what cannot be."""

from __future__ import annotations

from collections import Counter
from typing import Any

from handrail.envs.cluster import ClusterConfig, ClusterSimulator
from handrail.envs.cluster.pool import ResourcePool


class AuditedPool:
    """Stands in for a pool: every allocation is entered, and no machine may ever give more than it has."""

    def __init__(self, pool: ResourcePool, config: ClusterConfig) -> None:
        self._pool = pool
        self._processors = config.processors
        self._machines = [group for group in config.groups for _ in range(group.machines)]
        self.held: list[Any] = []
        self.down: set[int] = set()
        self.placed = 0
        self.withdrawn = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def place(self, demand: Any, *arguments: Any) -> Any:
        fitted = self._pool.fits(demand)
        allocation = self._pool.place(demand, *arguments)
        assert fitted or allocation is None
        if allocation is not None:
            self.placed += 1
            self.held.append(allocation)
            assert not self.down & set(self._pool.machines_of(allocation))
            self.check()
        return allocation

    def release(self, allocation: Any) -> None:
        self.held.remove(allocation)
        self._pool.release(allocation)
        self.check()

    def set_down(self, machine: int) -> None:
        assert not any(machine in self._pool.machines_of(allocation) for allocation in self.held)
        self.down.add(machine)
        self._pool.set_down(machine)
        self.check()

    def set_up(self, machine: int) -> None:
        self.down.remove(machine)
        self._pool.set_up(machine)
        self.check()

    def withdraw(self, processors: int) -> None:
        self.withdrawn += processors
        self._pool.withdraw(processors)  # type: ignore[attr-defined]

    def check(self) -> None:
        """The pool's free capacity is what the books say, and nothing is given twice."""
        if self._processors is not None:
            assert 0 <= sum(self.held) <= self._processors
            assert self._pool.free_size == self._processors - self.withdrawn - sum(self.held)
            return
        gpus: Counter[tuple[int, int]] = Counter()
        cpu_milli: Counter[int] = Counter()
        memory_mib: Counter[int] = Counter()
        for allocation in self.held:
            for piece in allocation:
                for gpu in range(piece.gpus.bit_length()):
                    if piece.gpus >> gpu & 1:
                        assert gpu < self._machines[piece.machine].gpus
                        gpus[piece.machine, gpu] += piece.milli
                cpu_milli[piece.machine] += piece.cpu_milli
                memory_mib[piece.machine] += piece.memory_mib
        assert all(used <= 1000 for used in gpus.values())
        for machine, group in enumerate(self._machines):
            assert group.cpu_milli is None or cpu_milli[machine] <= group.cpu_milli
            assert group.memory_mib is None or memory_mib[machine] <= group.memory_mib
        up = [machine for machine in range(len(self._machines)) if machine not in self.down]
        if any(group.gpus for group in self._machines):
            used = sum(used for (machine, _), used in gpus.items() if machine not in self.down)
            free = 1000 * sum(self._machines[machine].gpus for machine in up) - used
        else:
            free = sum(self._machines[machine].cpu_milli - cpu_milli[machine] for machine in up)
        assert round(self._pool.free_size * 1000) == free >= 0


def audited(simulator: ClusterSimulator) -> AuditedPool:
    """Put an audited pool in place of the simulator's."""
    pool = AuditedPool(simulator.pool, simulator.config)
    simulator.pool = simulator.state.pool = pool  # type: ignore[assignment]
    return pool
