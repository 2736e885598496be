"""The jobs of a replay as columns, with what the scheduler may know of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from .config import ClusterConfig
from .demand import MILLI, Demand
from .knowledge import Predictor, known_estimates

Floats = NDArray[np.float64]


class JobTable:
    """Columns of all jobs, shape (n,); what disciplines and observers read. Rows are those of the trace.

    Attributes:
        arrival_s: Arrival in simulated seconds.
        submit_s: Submit time on the trace's own clock.
        estimate_s: Run time as far as it is known; 0 where nothing is, nan for a prediction before the arrival.
        size: GPUs (processors) of the whole gang, in the unit of the cluster's size.
        smallest: The least of these; if less is free, nothing fits.
        tenant: Tenant codes; 0 where the trace names none.
        attained_s: Seconds of work done so far (preemptive disciplines and restarts).
        tenant_share: Dominant share of each tenant, shape (tenants,): its largest share of GPUs, processors or memory.
        n_tenants: Number of tenants, at least 1.
        size_of: The sizes as a list: faster to index by one row.
        demands: Demand of each job.
        kind_of: Number of that demand: equal demands have equal numbers.
        kind: The same as a column.
        kinds: The demand of each number.
    """

    def __init__(self, trace: JobTrace, config: ClusterConfig) -> None:
        n = len(trace)
        self.arrival_s: Floats = trace.arrival_s
        self.submit_s: Floats = trace.arrival_s + float(trace.notes.get("origin_s", 0.0))  # type: ignore[arg-type]
        # Where machines have GPUs, what counts is GPUs, and a job without any is of size 0.
        self.size: Floats = trace.tasks * trace.gpu_milli / MILLI if config.size_unit == "gpus" else trace.size
        self.size_of: list[float] = self.size.tolist()
        self.smallest = float(self.size.min(initial=np.inf))
        self.tenant = np.zeros(n, dtype=np.int64) if trace.tenant is None else trace.tenant
        self.tenant_of: list[int] = self.tenant.tolist()
        self.n_tenants = max(len(trace.tenant_names or ()), int(self.tenant.max(initial=0)) + 1)
        self.estimate_s = known_estimates(
            trace, config.knowledge, run_time_where_missing=config.protocol == "rlscheduler"
        )
        self.attained_s = np.zeros(n)
        self.tenant_share = np.zeros(self.n_tenants)
        self.predictor = Predictor(self.tenant, self.size) if config.knowledge == "predicted" else None
        zeros = np.zeros(n, dtype=np.int64)
        types = zeros if trace.gpu_types is None else trace.gpu_types
        columns = (trace.tasks, trace.gpu_milli, trace.cpu_milli, trace.memory_mib, types)
        kinds: dict[tuple[int, ...], Demand] = {}
        numbers: dict[Demand, int] = {}
        self.demands: list[Demand] = []
        self.kind_of: list[int] = []
        for values in zip(*(column.tolist() for column in columns), strict=True):
            demand = kinds.get(values)
            if demand is None:
                demand = Demand(*values)
                if config.processors is not None and demand.gpu_milli == 0:
                    # Processors are interchangeable: a task of several is several tasks.
                    demand = Demand(demand.tasks * max(-(-demand.cpu_milli // MILLI), 1), 0, MILLI)
                kinds[values] = demand
            self.demands.append(demand)
            self.kind_of.append(numbers.setdefault(demand, len(numbers)))
        self.kind = np.array(self.kind_of, dtype=np.int64)
        self.kinds: list[Demand] = list(numbers)

    def reveal(self, row: int) -> None:
        """Fix the prediction of a job that arrives."""
        if self.predictor is not None:
            self.estimate_s[row] = self.predictor.predict(row)
