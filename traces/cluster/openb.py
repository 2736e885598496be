"""Readers of the openb pod and node lists (Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
Fragmentation Gradient Descent", USENIX ATC 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..common.columns import Table, check_stamps, names_of, numbers_of, time_order, whole_numbers
from ..common.delimited import DelimitedFile
from ..common.source import DEFAULT_MAX_BYTES, DEFAULT_MAX_ROWS, read_source
from ..signatures import OPENB_NODES, OPENB_PODS
from .columns import assemble, raised_runs
from .job_trace import MAX_GPU_TYPES, MAX_MEMORY_MIB, MAX_MILLI, JobTrace

CPU, MEMORY, GPUS, SHARE = "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"
CREATED, DELETED, SCHEDULED = "creation_time", "deletion_time", "scheduled_time"
SPEC, TENANT = "gpu_spec", "qos"


@dataclass(frozen=True)
class NodeTable:
    """The machines of a cluster, in the order of the file.

    Attributes:
        names: Name of each machine.
        gpus: GPUs of each machine, int64, >= 0, shape (n,).
        cpu_milli: Thousandths of a processor, int64.
        memory_mib: Memory in MiB, int64.
        models: GPU model of each machine, ``""`` for one without GPUs.
        name: File that it was read from.
    """

    names: tuple[str, ...]
    gpus: NDArray[np.int64]
    cpu_milli: NDArray[np.int64]
    memory_mib: NDArray[np.int64]
    models: tuple[str, ...]
    name: str = "nodes"

    def __len__(self) -> int:
        return len(self.names)


def read_openb(table: Table, *, sort: bool = False) -> JobTrace:
    """Read a pod list; time 0 is the first pod's creation, ``tenant`` its quality-of-service class.

    A pod is a job of one task. It runs from ``scheduled_time`` to ``deletion_time``; one that was never scheduled, from
    its creation (counted in ``notes["never_scheduled"]``); 0 s become 1 s. ``num_gpu`` above 1 are whole GPUs, below
    that ``gpu_milli`` is the share of one. ``gpu_spec`` holds the allowed models, separated by ``|``; empty is any.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    table.require(OPENB_PODS, "the openb pod list has it; fetch the file again, or name your columns with --map")
    source = table.source
    texts = [column for column in (SPEC, TENANT, SCHEDULED) if column in table.header]
    table.require(texts, "rename one")
    columns = table.read((CPU, MEMORY, GPUS, SHARE, CREATED, DELETED), texts)

    def whole(column: str, high: int) -> NDArray[np.int64]:
        return whole_numbers(table, column, columns[column], low=0, high=high)

    cpu_milli, memory_mib = whole(CPU, MAX_MILLI), whole(MEMORY, MAX_MEMORY_MIB)
    gpus, share = whole(GPUS, MAX_MILLI // 1000), whole(SHARE, 1000)
    created_s, deleted_s = columns[CREATED].to_numpy(), columns[DELETED].to_numpy()
    for column, stamps in ((CREATED, created_s), (DELETED, deleted_s)):
        check_stamps(stamps, source, table.place, column)
    began_s = np.array(created_s)
    notes: dict[str, Any] = {"format": "openb"}
    if SCHEDULED in columns:
        scheduled_s = numbers_of(table, SCHEDULED, columns[SCHEDULED], zero=True, optional=True)
        missing = np.isnan(scheduled_s)
        began_s = np.where(missing, created_s, scheduled_s)
        notes["never_scheduled"] = int(missing.sum())
    backwards = deleted_s < began_s
    if backwards.any():
        row = int(np.argmax(backwards))
        raise source.bad_value(table.place(row), DELETED, "lies before the pod's start; mend or drop the row")
    _check_demand(table, gpus, share, cpu_milli)
    run_s, raised = raised_runs(deleted_s - began_s)
    order = time_order(created_s, source, table.place, CREATED, sort=sort)
    arrival_s = created_s if order is None else created_s[order]
    notes["origin_s"] = float(arrival_s[0])
    optional: dict[str, Any] = {}
    if TENANT in columns:
        optional["tenant"], optional["tenant_names"] = names_of(table, TENANT, columns[TENANT])
    if SPEC in columns:
        optional["gpu_types"], optional["gpu_type_names"] = type_masks(table, SPEC, columns[SPEC])
    return assemble(
        source,
        arrival_s=arrival_s - arrival_s[0],
        order=order,
        notes={**notes, **raised},
        run_s=run_s,
        gpu_milli=np.where(gpus > 1, gpus * 1000, np.where(gpus == 1, share, 0)),
        cpu_milli=cpu_milli,
        memory_mib=memory_mib,
        **optional,
    )


def read_nodes(path: str | Path, *, max_rows: int = DEFAULT_MAX_ROWS, max_bytes: int = DEFAULT_MAX_BYTES) -> NodeTable:
    """Read a node list: ``sn, cpu_milli, memory_mib, gpu, model``; gzip and zip are unpacked.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    table = DelimitedFile(read_source(path, max_rows=max_rows, max_bytes=max_bytes, items="machines"))
    table.require(OPENB_NODES, "a node list has it; check that it is the right file")
    columns = table.read((CPU, MEMORY, "gpu"), ("sn", "model"))
    numbers = {
        column: whole_numbers(table, column, columns[column], low=0, high=high)
        for column, high in ((CPU, MAX_MILLI), (MEMORY, MAX_MEMORY_MIB), ("gpu", 10_000))
    }
    codes, names = names_of(table, "sn", columns["sn"])
    if len(names) != len(codes):
        row = int(np.argmax(np.bincount(codes)[codes] > 1))
        raise table.source.bad_value(table.place(row), "sn", f"{names[codes[row]]!r} is there twice; rename one")
    models, model_names = names_of(table, "model", columns["model"])
    return NodeTable(
        names=tuple(names[code] for code in codes.tolist()),
        gpus=numbers["gpu"],
        cpu_milli=numbers[CPU],
        memory_mib=numbers[MEMORY],
        models=tuple(model_names[code] for code in models.tolist()),
        name=Path(path).name,
    )


def type_masks(table: Table, column: str, values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """GPU models separated by ``|`` as bit masks over their names; nothing is 0 (any model).

    Raises:
        TraceError: More models than a mask has bits, or a name with a control character.
    """
    codes, texts = names_of(table, column, values)
    allowed = [[name for name in text.split("|") if name] for text in texts]
    names = tuple(dict.fromkeys(name for part in allowed for name in part))
    if len(names) > MAX_GPU_TYPES:
        raise table.source.error(f"field {column!r}: {len(names)} GPU models; at most {MAX_GPU_TYPES} are told apart")
    masks = np.array([sum(1 << names.index(name) for name in set(part)) for part in allowed], np.int64)
    return masks[codes], names


def _check_demand(
    table: Table, gpus: NDArray[np.int64], share: NDArray[np.int64], cpu_milli: NDArray[np.int64]
) -> None:
    for column, bad, problem in (
        (SHARE, (gpus == 1) & (share == 0), "0 where num_gpu is 1; it is the share of that GPU"),
        (CPU, (gpus == 0) & (cpu_milli == 0), "0 where num_gpu is 0 too: the pod asks for nothing"),
    ):
        if bad.any():
            raise table.source.bad_value(table.place(int(np.argmax(bad))), column, f"{problem}; mend or drop the row")
