"""Reader of the Philly jobs (Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training
Workloads", USENIX ATC 2019), as a CSV of ``timestamp, duration, num_gpus, gpu_time, cluster``.
"""

from __future__ import annotations

import numpy as np

from ..common.columns import Table, date_stamps_ns, names_of, numbers_of, time_order, whole_numbers
from ..signatures import PHILLY
from .columns import assemble
from .job_trace import MAX_MILLI, JobTrace

STAMP, RUN, GPUS, TENANT = "timestamp", "duration", "num_gpus", "cluster"


def read_philly(table: Table, *, sort: bool = False) -> JobTrace:
    """Read it; time 0 is the first job, ``tenant`` the virtual cluster.

    A job is one task of ``num_gpus`` GPUs, however many: a cluster spreads what is larger than a machine. There are no
    estimates, no processors and no memory.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    table.require(PHILLY, "the Philly jobs have it; fetch the file again, or name your columns with --map")
    tenants = (TENANT,) if TENANT in table.header else ()
    table.require(tenants, "rename one")
    columns = table.read((GPUS,), (STAMP, RUN, *tenants))
    gpus = whole_numbers(table, GPUS, columns[GPUS], low=1, high=MAX_MILLI // 1000)
    run_s = numbers_of(table, RUN, columns[RUN])
    stamp_ns = date_stamps_ns(table, STAMP, columns[STAMP])
    order = time_order(stamp_ns, table.source, table.place, STAMP, sort=sort)
    if order is not None:
        stamp_ns = stamp_ns[order]
    optional = {}
    if tenants:
        optional["tenant"], optional["tenant_names"] = names_of(table, TENANT, columns[TENANT])
    return assemble(
        table.source,
        arrival_s=(stamp_ns - stamp_ns[0]) / 1e9,
        order=order,
        notes={"format": "philly", "origin": str(np.datetime64(int(stamp_ns[0]), "ns")), "origin_s": 0.0},
        run_s=run_s,
        gpu_milli=gpus * 1000,
        **optional,
    )
