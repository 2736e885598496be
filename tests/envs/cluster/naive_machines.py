"""Machines as plain lists, and every placement policy as a scan over them: slow, obvious, sharing no code."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import strategies as st

from handrail.envs.cluster.config import MachineGroup
from handrail.envs.cluster.demand import Demand
from handrail.envs.cluster.machine_task import Pieces

UNLIMITED = 10**15
TYPES = ("A100", "T4")


@dataclass
class NaiveMachine:
    gpus: list[int]
    cpu: int
    memory: int
    bit: int
    up: bool = True
    size: tuple[int, int | None] = (0, None)

    def used_by(self, allocations: list[Pieces], number: int) -> NaiveMachine:
        """This empty machine less what the allocations hold of it."""
        gpus, cpu, memory = list(self.gpus), self.cpu, self.memory
        for pieces in allocations:
            for piece in pieces:
                if piece.machine == number:
                    cpu -= piece.cpu_milli
                    memory -= piece.memory_mib
                    gpus = [free - piece.milli * (piece.gpus >> k & 1) for k, free in enumerate(gpus)]
                    assert piece.gpus >> len(gpus) == 0
        return NaiveMachine(gpus, cpu, memory, self.bit, self.up, self.size)

    def after(self, demand: Demand, gpu: int | None) -> NaiveMachine | None:
        """With one task more, a share on ``gpu``; None where it does not fit."""
        gpus = list(self.gpus)
        if demand.gpu_milli >= 1000:
            whole = [k for k, free in enumerate(gpus) if free == 1000]
            if len(whole) < demand.gpu_milli // 1000:
                return None
            for k in whole[: demand.gpu_milli // 1000]:
                gpus[k] = 0
        elif demand.gpu_milli:
            if gpu is None or gpus[gpu] < demand.gpu_milli:
                return None
            gpus[gpu] -= demand.gpu_milli
        if demand.gpu_milli and demand.types and not demand.types & self.bit:
            return None
        if not self.up or self.cpu < demand.cpu_milli or self.memory < demand.memory_mib:
            return None
        return NaiveMachine(gpus, self.cpu - demand.cpu_milli, self.memory - demand.memory_mib, self.bit)

    def gpus_for_share(self, demand: Demand) -> list[int]:
        return [k for k in range(len(self.gpus)) if self.after(demand, k) is not None]

    def hosts(self, demand: Demand) -> bool:
        if 0 < demand.gpu_milli < 1000:
            return bool(self.gpus_for_share(demand))
        return self.after(demand, None) is not None

    def count(self, demand: Demand) -> int:
        """Tasks that fit, by putting one in after another."""
        machine, count = self, 0
        while count < demand.tasks and machine.hosts(demand):
            shares = machine.gpus_for_share(demand)
            machine = machine.after(demand, shares[0] if 0 < demand.gpu_milli < 1000 else None)
            assert machine is not None
            count += 1
        return count


def naive_machines(groups: tuple[MachineGroup, ...]) -> list[NaiveMachine]:
    machines = []
    for group in groups:
        for _ in range(group.machines):
            bit = 1 << TYPES.index(group.gpu_type) if group.gpu_type in TYPES else 0
            cpu = UNLIMITED if group.cpu_milli is None else group.cpu_milli
            memory = UNLIMITED if group.memory_mib is None else group.memory_mib
            machines.append(NaiveMachine([1000] * group.gpus, cpu, memory, bit, size=(group.gpus, group.cpu_milli)))
    return machines


@dataclass
class NaivePlacement:
    """The published rules, one machine at a time: ``score`` of a machine, ``gpu`` of a share."""

    name: str
    typical: list[Demand]
    most_gpus: int = 0
    most_cpu: int = 0
    empty: list[NaiveMachine] = field(default_factory=list)

    def choose(self, machines: list[NaiveMachine], demand: Demand) -> tuple[int, int | None]:
        best: tuple[float, int] | None = None
        for number, machine in enumerate(machines):
            if machine.hosts(demand):
                score = self.score(machine, demand)
                if best is None or score > best[0]:
                    best = (score, number)
        assert best is not None
        machine = machines[best[1]]
        return best[1], self.gpu(machine, demand) if 0 < demand.gpu_milli < 1000 else None

    def score(self, machine: NaiveMachine, demand: Demand) -> float:
        if self.name == "first-fit":
            return 0
        if self.name in ("best-fit", "worst-fit"):
            left = [(sum(machine.gpus) - demand.gpu_milli) / (1000 * self.most_gpus)]
            if self.most_cpu:
                left.insert(0, (min(machine.cpu, self.most_cpu) - demand.cpu_milli) / self.most_cpu)
            mean = sum(left) / len(left)
            return mean if self.name == "worst-fit" else math.floor(100 * (1 - mean))
        if self.name == "packing":
            return self._packing(machine, demand)
        shares = machine.gpus_for_share(demand) if 0 < demand.gpu_milli < 1000 else [None]
        return max(self._fgd(machine, demand, gpu) for gpu in shares)

    def gpu(self, machine: NaiveMachine, demand: Demand) -> int:
        shares = machine.gpus_for_share(demand)
        if self.name == "first-fit":
            return shares[0]
        if self.name == "worst-fit":
            return max(shares, key=lambda k: machine.gpus[k])
        if self.name == "fgd":
            return max(shares, key=lambda k: self._fgd(machine, demand, k))
        return min(shares, key=lambda k: machine.gpus[k])

    @staticmethod
    def _packing(machine: NaiveMachine, demand: Demand) -> float:
        if demand.gpu_milli == 0:
            return 0
        partly = [free for free in machine.gpus if demand.gpu_milli <= free < 1000]
        if demand.gpu_milli < 1000 and partly:
            return max(50, 100 - min(partly) * 100 // 1000 // 10)
        gpus = len(machine.gpus)
        if all(free == 1000 for free in machine.gpus):
            return max(33 - gpus, gpus)
        return max(33, 50 - max(1, demand.gpu_milli // 1000))

    def _fgd(self, machine: NaiveMachine, demand: Demand, gpu: int | None) -> float:
        after = machine.after(demand, gpu)
        assert after is not None
        gain = self.fragment(machine) - self.fragment(after)
        return math.floor(100 / (1 + math.exp(-gain / 1000)))

    def fragment(self, machine: NaiveMachine) -> float:
        """F of one machine in milli-GPU."""
        amounts = []
        for task in self.typical:
            each, needed = min(task.gpu_milli, 1000), max(1, task.gpu_milli // 1000)
            enough = sum(free >= each for free in machine.gpus) >= needed
            allowed = not task.types or bool(task.types & machine.bit)
            if task.gpu_milli and enough and allowed and machine.cpu >= task.cpu_milli:
                amounts.append(sum(free for free in machine.gpus if free < each))
            else:
                amounts.append(sum(machine.gpus))
        return sum(amounts) / len(amounts)


def demands(*, shares: bool = True, limits: bool = True, most_gpus: int = 4) -> st.SearchStrategy[Demand]:
    """Small gangs; never more GPUs a task than the largest machine has."""
    gpu_milli = st.sampled_from([1000 * gpus for gpus in range(1, most_gpus + 1)])
    if shares:
        gpu_milli |= st.sampled_from([0, 100, 300, 500, 700])
    some = st.sampled_from([1000, 2000, 6000]) if limits else st.just(0)
    memory = st.sampled_from([0, 1024, 4096]) if limits else st.just(0)
    return st.builds(Demand, st.integers(1, 3), gpu_milli, some, memory, st.sampled_from([0, 0, 1, 2, 3]))


def alike() -> st.SearchStrategy[tuple[MachineGroup, ...]]:
    """Machines that the index can hold."""
    return st.builds(
        lambda machines, gpus: (MachineGroup(machines=machines, gpus=gpus, gpu_type="A100"),),
        st.integers(1, 7),
        st.sampled_from([4, 8]),
    )


def mixed() -> st.SearchStrategy[tuple[MachineGroup, ...]]:
    """Machines of several kinds, the largest with 4 GPUs of each model."""
    group = st.builds(
        MachineGroup,
        machines=st.integers(1, 3),
        gpus=st.sampled_from([0, 1, 2, 4]),
        cpu_milli=st.sampled_from([None, 8000, 16000]),
        memory_mib=st.sampled_from([None, 8192]),
        gpu_type=st.sampled_from(TYPES),
        speed=st.sampled_from([0.5, 1.0]),
    )
    largest = tuple(MachineGroup(machines=1, gpus=4, cpu_milli=12000, gpu_type=model) for model in TYPES)
    return st.lists(group, max_size=3).map(lambda groups: (*groups, *largest))
