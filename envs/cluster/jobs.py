"""The jobs of a replay as columns, with what the scheduler may know of them."""

from __future__ import annotations

import copy
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from .config import PREEMPTIVE, ClusterConfig
from .demand import MILLI, Demand
from .knowledge import Predictor, known_estimates

Floats = NDArray[np.float64]


_COLUMNS = ("arrival_s", "submit_s", "estimate_s", "size", "tenant", "kind")
_LISTS = ("arrival_of", "run_of", "size_of", "tenant_of", "demands", "kind_of")

T_co = TypeVar("T_co", covariant=True)


class ByRow(Protocol[T_co]):
    """A value for each job, by its row: a list, or a dict where only some jobs are held."""

    def __getitem__(self, row: int, /) -> T_co: ...


class JobShape(NamedTuple):
    """What a job shows when it arrives, as the columns of these names have it; ``limit_s`` is +inf without limits."""

    size: float
    tenant: int
    demand: Demand
    kind: int
    estimate_s: float
    limit_s: float


class JobTable:
    """Columns of all jobs, shape (n,); what disciplines and observers read. Rows are those of the trace.

    All of it is written before the replay and shared by forks, but for ``estimate_s`` of predictions (written once,
    when a job arrives), ``attained_s`` and ``tenant_share``.

    Attributes:
        n: How many jobs there are, those to come included.
        arrival_s: Arrival in simulated seconds.
        submit_s: Submit time on the trace's own clock.
        estimate_s: Run time as far as it is known; 0 where nothing is, nan for a prediction before the arrival.
        size: GPUs (processors) of the whole gang, in the unit of the cluster's size.
        smallest: The least of these; if less is free, nothing fits.
        tenant: Tenant codes; 0 where the trace names none.
        attained_s: Seconds of work done before the present attempt; of shape (0,) unless the discipline preempts.
        tenant_share: Dominant share of each tenant, shape (tenants,): its largest share of GPUs, processors or memory.
        n_tenants: Number of tenants, at least 1.
        arrival_of, size_of, tenant_of: Columns as lists: faster to index by one row.
        run_of: True run times; known to the simulator alone.
        limit_of: Users' estimates where they are limits, else None.
        demands: Demand of each job.
        kind_of: Number of that demand: equal demands have equal numbers.
        kind: The same as a column.
        kinds: The demand of each number.
    """

    def __init__(self, trace: JobTrace, config: ClusterConfig) -> None:
        n = self.n = len(trace)
        self.arrival_s: Floats = trace.arrival_s
        self._origin_s = trace.origin_s
        self.submit_s: Floats = trace.arrival_s + self._origin_s
        # Where machines have GPUs, what counts is GPUs, and a job without any is of size 0.
        self.size: Floats = trace.tasks * trace.gpu_milli / MILLI if config.size_unit == "gpus" else trace.size
        self.arrival_of: ByRow[float] = trace.arrival_s.tolist()
        self.run_of: ByRow[float] = trace.run_s.tolist()
        self.limit_of: ByRow[float] | None = trace.estimate_s.tolist() if config.kill_at_limit else None
        self.size_of: ByRow[float] = self.size.tolist()
        self.smallest = float(self.size.min(initial=np.inf))
        self.tenant = np.zeros(n, dtype=np.int64) if trace.tenant is None else trace.tenant
        self.tenant_of: ByRow[int] = self.tenant.tolist()
        self.n_tenants = max(len(trace.tenant_names or ()), int(self.tenant.max(initial=0)) + 1)
        self.estimate_s = known_estimates(
            trace, config.knowledge, run_time_where_missing=config.protocol == "rlscheduler"
        )
        self.attained_s = np.zeros(n if config.discipline in PREEMPTIVE else 0)
        self.tenant_share = np.zeros(self.n_tenants)
        self.predictor = Predictor() if config.knowledge == "predicted" else None
        self._owns_estimates = True
        zeros = np.zeros(n, dtype=np.int64)
        types = zeros if trace.gpu_types is None else trace.gpu_types
        columns = (trace.tasks, trace.gpu_milli, trace.cpu_milli, trace.memory_mib, types)
        kinds: dict[tuple[int, ...], Demand] = {}
        numbers: dict[Demand, int] = {}
        demands: list[Demand] = []
        kind_of: list[int] = []
        for values in zip(*(column.tolist() for column in columns), strict=True):
            demand = kinds.get(values)
            if demand is None:
                demand = Demand(*values)
                if config.processors is not None and demand.gpu_milli == 0:
                    # Processors are interchangeable: a task of several is several tasks.
                    demand = Demand(demand.tasks * max(-(-demand.cpu_milli // MILLI), 1), 0, MILLI)
                kinds[values] = demand
            demands.append(demand)
            kind_of.append(numbers.setdefault(demand, len(numbers)))
        self.demands: ByRow[Demand] = demands
        self.kind_of: ByRow[int] = kind_of
        self.kind = np.array(kind_of, dtype=np.int64)
        self.kinds: list[Demand] = list(numbers)

    def only(self, rows: NDArray[np.int64], n: int, kinds: int) -> JobTable:
        """A table of ``n`` rows that holds the jobs ``rows`` alone, with their numbers, and nothing of any other.

        Args:
            rows: The jobs.
            n: Rows, those to come included.
            kinds: The first so many kinds of demand.
        """
        twin = self.fork()
        twin.n = n
        for name in _COLUMNS:
            column = getattr(self, name)
            held = np.zeros(n, dtype=column.dtype)
            held[rows] = column[rows]
            setattr(twin, name, held)
        every = rows.tolist()
        for name in (*_LISTS, *(("limit_of",) if self.limit_of is not None else ())):
            column = getattr(self, name)
            setattr(twin, name, {row: column[row] for row in every})
        twin.kinds = self.kinds[:kinds]
        twin._owns_estimates = True
        if len(self.attained_s):
            twin.attained_s = np.zeros(n)
            twin.attained_s[rows] = self.attained_s[rows]
        return twin

    def shape_of(self, row: int) -> JobShape:
        """What a job shows when it arrives."""
        return JobShape(
            self.size_of[row],
            self.tenant_of[row],
            self.demands[row],
            self.kind_of[row],
            float(self.estimate_s[row]),
            np.inf if self.limit_of is None else self.limit_of[row],
        )

    def add(self, row: int, arrival_s: float, run_s: float, shape: JobShape) -> None:
        """Write down a job, in a table that holds only some; a prediction of its run time is made when it arrives."""
        size, tenant, demand, kind, estimate_s, limit_s = shape
        self.arrival_s[row] = self.arrival_of[row] = arrival_s  # type: ignore[index]
        self.submit_s[row] = arrival_s + self._origin_s
        self.run_of[row] = run_s  # type: ignore[index]
        self.estimate_s[row] = estimate_s
        self.size[row] = self.size_of[row] = size  # type: ignore[index]
        self.tenant[row] = self.tenant_of[row] = tenant  # type: ignore[index]
        self.kind[row] = self.kind_of[row] = kind  # type: ignore[index]
        self.demands[row] = demand  # type: ignore[index]
        if self.limit_of is not None:
            self.limit_of[row] = limit_s  # type: ignore[index]

    def reveal(self, row: int) -> None:
        """Fix the prediction of a job that arrives."""
        if self.predictor is not None:
            if not self._owns_estimates:
                # Rows are written in the order of arrival: until now the fork has read none that it does not share.
                self.estimate_s = self.estimate_s.copy()
                self._owns_estimates = True
            self.estimate_s[row] = self.predictor.predict(self.tenant_of[row], self.size_of[row])

    def fork(self) -> JobTable:
        """The table of a forked replay."""
        twin = copy.copy(self)
        twin.tenant_share = self.tenant_share.copy()
        twin.attained_s = self.attained_s.copy()
        if self.predictor is not None:
            twin.predictor = self.predictor.fork()
            twin._owns_estimates = False
        return twin
