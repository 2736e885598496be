"""What one job asks for: a gang of identical tasks, each on one machine, all started together."""

from __future__ import annotations

from typing import NamedTuple

MILLI = 1000
"""A whole GPU or a whole processor in the units of the demands."""


class Demand(NamedTuple):
    """Resources of a gang; the amounts are for each task.

    Attributes:
        tasks: Tasks of the gang; several may share a machine.
        gpu_milli: Thousandths of a GPU. 1000 and more are whole GPUs of one machine; less is a share of one GPU.
        cpu_milli: Thousandths of a processor.
        memory_mib: Memory in MiB.
        types: Bit mask of the GPU models allowed; 0 allows any.
    """

    tasks: int
    gpu_milli: int = 0
    cpu_milli: int = 0
    memory_mib: int = 0
    types: int = 0

    @property
    def size(self) -> float:
        """GPUs in all; processors in all where the job asks for no GPU."""
        return self.tasks * (self.gpu_milli or self.cpu_milli) / MILLI
