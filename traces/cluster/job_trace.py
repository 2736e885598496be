"""The canonical job trace: who asked for which machines, when and for how long, as read-only columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import checked_names, compact_names, feed, frozen, refuse
from ..common.columns import MAX_STAMP_S
from ..common.timed_rows import TimedRows
from ..errors import TraceError
from . import transforms

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_TASKS = 10**7  # no gang is that large, nor any machine: larger numbers are a wrong column
MAX_MILLI = 10**10
MAX_MEMORY_MIB = 10**12
MAX_GPU_TYPES = 62  # bits of a mask in int64, sign left alone

REQUIRED_INTS = ("tasks", "gpu_milli", "cpu_milli", "memory_mib")
OPTIONAL_INTS = ("gpu_types", "tenant", "user", "priority")


@dataclass(frozen=True, eq=False, repr=False)
class JobTrace(TimedRows):
    """Jobs in order of arrival, one array per column, all of length n and read-only.

    A job is a gang of ``tasks`` equal tasks that start together; ``gpu_milli``, ``cpu_milli`` and ``memory_mib`` are
    what each of them needs.

    Attributes:
        arrival_s: Arrival time in seconds, float64, non-decreasing, first one >= 0.
        run_s: Seconds that the job runs on machines of speed 1, float64, > 0; infinite for jobs that never leave.
        estimate_s: The user's estimate or limit of ``run_s`` in seconds, > 0; NaN where there is none.
        tasks: Tasks of the gang, int64, >= 1.
        gpu_milli: Thousandths of a GPU a task, int64, >= 0: below 1000 a share of one GPU, else whole GPUs (multiples
            of 1000) of one machine.
        cpu_milli: Thousandths of a processor a task, int64, >= 0.
        memory_mib: Memory a task in MiB, int64, >= 0.
        gpu_types: GPU models that will do, an int64 bit mask over ``gpu_type_names`` (0: any), or ``None``.
        tenant: int64 codes into ``tenant_names``, or ``None``.
        user: int64 number of the user, -1 where unknown, or ``None``.
        priority: int64, larger is more urgent, or ``None``.
        deadline_s: When the job should be done, on the clock of ``arrival_s``, NaN for no deadline, or ``None``.
        processors: Processors of the machine that the trace was recorded on, as its header says, or ``None``.
        name: What the trace was called when it was read; not part of the content.
        notes: What reading it did (rows read, dropped, raised), and ``origin_s``; not part of the content.

    Raises:
        TraceError: A column of wrong shape or with a value out of its range.
    """

    ITEMS: ClassVar[str] = "jobs"

    arrival_s: Floats
    run_s: Floats
    estimate_s: Floats
    tasks: Ints
    gpu_milli: Ints
    cpu_milli: Ints
    memory_mib: Ints
    gpu_types: Ints | None = None
    gpu_type_names: tuple[str, ...] = ()
    tenant: Ints | None = None
    tenant_names: tuple[str, ...] = ()
    user: Ints | None = None
    priority: Ints | None = None
    deadline_s: Floats | None = None
    processors: int | None = None
    name: str = "trace"
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.arrival_s)
        for column in ("arrival_s", "run_s", "estimate_s"):
            self._set(column, frozen(getattr(self, column), np.float64, column, n))
        for column in REQUIRED_INTS:
            self._set(column, frozen(getattr(self, column), np.int64, column, n))
        for column in OPTIONAL_INTS:
            if getattr(self, column) is not None:
                self._set(column, frozen(getattr(self, column), np.int64, column, n))
        if self.deadline_s is not None:
            self._set("deadline_s", frozen(self.deadline_s, np.float64, "deadline_s", n))
        self._check_times()
        self._check_durations()
        self._check_demands()
        self._set("tenant_names", checked_names("tenant", self.tenant, self.tenant_names))
        self._check_gpu_types()
        if self.user is not None:
            refuse(self.user < -1, "user", "is below -1")
        if self.processors is not None and self.processors < 1:
            raise TraceError(f"trace: processors must be at least 1, got {self.processors}")
        self._set("notes", dict(self.notes))

    def _check_durations(self) -> None:
        refuse(~(self.run_s > 0), "run_s", "is not above 0")
        refuse((self.run_s > MAX_STAMP_S) & np.isfinite(self.run_s), "run_s", "is too large for seconds")
        estimate_s = self.estimate_s
        refuse(~(np.isnan(estimate_s) | (estimate_s > 0)), "estimate_s", "is neither above 0 nor NaN (no estimate)")
        refuse(estimate_s > MAX_STAMP_S, "estimate_s", "is too large for seconds")
        if self.deadline_s is not None:
            refuse(np.isinf(self.deadline_s), "deadline_s", "is infinite; NaN is no deadline")

    def _check_demands(self) -> None:
        refuse(self.tasks < 1, "tasks", "is below 1")
        refuse(self.tasks > MAX_TASKS, "tasks", f"is above {MAX_TASKS:,}")
        for column, largest in (("gpu_milli", MAX_MILLI), ("cpu_milli", MAX_MILLI), ("memory_mib", MAX_MEMORY_MIB)):
            refuse(getattr(self, column) < 0, column, "is negative")
            refuse(getattr(self, column) > largest, column, f"is above {largest:,}")
        parts = (self.gpu_milli > 1000) & (self.gpu_milli % 1000 != 0)
        refuse(parts, "gpu_milli", "is neither a share of one GPU (below 1000) nor whole GPUs (a multiple of 1000)")
        refuse((self.gpu_milli == 0) & (self.cpu_milli == 0), "gpu_milli", "and cpu_milli are both 0")

    def _check_gpu_types(self) -> None:
        names = tuple(str(name) for name in self.gpu_type_names)
        self._set("gpu_type_names", names)
        if self.gpu_types is None:
            if names:
                raise TraceError("trace: gpu_type_names are given without the column gpu_types")
            return
        if len(set(names)) != len(names) or len(names) > MAX_GPU_TYPES:
            raise TraceError(f"trace: gpu_type_names must be distinct, and at most {MAX_GPU_TYPES}")
        if any(ord(c) < 32 or c == "|" for name in names for c in name) or "" in names:
            raise TraceError("trace: gpu_type_names must be neither empty nor hold control characters or '|'")
        refuse((self.gpu_types < 0) | (self.gpu_types >= 1 << len(names)), "gpu_types", "has bits without a name")

    @cached_property
    def size(self) -> Floats:
        """What each job holds while it runs, shape (n,): its GPUs, or its processors where it asks for no GPU."""
        size = self.tasks * np.where(self.gpu_milli > 0, self.gpu_milli, self.cpu_milli) / 1000.0
        size.flags.writeable = False
        return size

    @cached_property
    def area_s(self) -> Floats:
        """``size`` times ``run_s``: GPU-seconds or processor-seconds, shape (n,)."""
        area_s = self.size * self.run_s
        area_s.flags.writeable = False
        return area_s

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the columns; name, notes, processors and the numbering of names play no part."""
        digest = hashlib.sha256(b"handrail job trace 1")
        for column in ("arrival_s", "run_s", "estimate_s", *REQUIRED_INTS, "user", "priority", "deadline_s"):
            array = getattr(self, column)
            if array is not None:
                feed(digest, column, _one_nan(array))
        if self.tenant is not None:
            codes, names = compact_names(self.tenant, self.tenant_names)
            feed(digest, f"tenant {json.dumps(names)}", codes)
        if self.gpu_types is not None:
            masks, names = transforms.compact_types(self.gpu_types, self.gpu_type_names)
            feed(digest, f"gpu types {json.dumps(names)}", masks)
        return digest.hexdigest()

    def take(self, rows: Ints, arrival_s: Floats | None = None) -> JobTrace:
        """The given rows (indices, in the order wanted), with new arrival times where given (shape of ``rows``).

        A deadline moves with its job's arrival.
        """
        changes: dict[str, Any] = {"arrival_s": self.arrival_s[rows] if arrival_s is None else arrival_s}
        for column in ("run_s", "estimate_s", *REQUIRED_INTS, *OPTIONAL_INTS):
            array = getattr(self, column)
            if array is not None:
                changes[column] = array[rows]
                changes[column].flags.writeable = False  # nobody else has it, so it need not be copied
        if self.deadline_s is not None:
            changes["deadline_s"] = self.deadline_s[rows] + (changes["arrival_s"] - self.arrival_s[rows])
        return self.replace(**changes)

    def superpose(self, k: int, seed: int) -> JobTrace:
        """Merge ``k`` copies of this trace, each but the first shifted circularly in time by a seeded offset.

        The circle is the span of the trace, closed by one mean inter-arrival time, so the rate is k times as high and
        the span stays. Users and tenants are the same in all copies.
        """
        return transforms.superposed(self, k, seed)

    def concat(self, other: JobTrace) -> JobTrace:
        """This trace, then ``other``, whose first job comes one mean inter-arrival time after this one's last.

        Where one of the two lacks an optional column: any GPU model, tenant ``""``, user -1, priority 0, no deadline.
        """
        return transforms.concatenated(self, other)


def _one_nan(array: NDArray[Any]) -> NDArray[Any]:
    """NaN has many bit patterns; a hash needs one."""
    return np.where(np.isnan(array), np.nan, array) if array.dtype == np.float64 else array
