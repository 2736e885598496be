"""The observation of a cluster scheduler: a row a waiting job in the window, one row for waiting, then the cluster."""

from __future__ import annotations

from ..common import Field, Layout

SLOT_FIELDS = (
    Field("up", 0, 1, "1 where this choice is legal now"),
    Field("is_wait", 0, 1, "1 in the last row, which stands for starting nothing"),
    Field("size_share", 0, 1, "GPUs (processors) of the job over those of the cluster"),
    Field("estimate_s", 0, 1e8, "run time of the job as far as it may be known, 0 where it may not"),
    Field("wait_s", 0, 1e9, "seconds since the job arrived"),
    Field("submit_s", 0, 1e10, "submit time on the trace's own clock"),
    Field("slowdown", 0, 1e6, "bounded slowdown of the job if it starts now and runs as estimated"),
    Field("fits", 0, 1, "1 where the job fits on what is free"),
    Field("overdue", 0, 1, "1 where the job has waited beyond the wait limit"),
    Field("tenant_share", 0, 1, "share of the cluster that the job's tenant holds"),
    Field("head_delay_s", 0, 1e8, "by how much starting the job now delays the head's reservation"),
    Field("overdue_passed", 0, 1e6, "1 + most passes suffered by an overdue job that this one would pass; 0: none"),
    Field("displaced_slowdown", 0, 1e6, "slowdown it costs the jobs before it that fit now and no longer would"),
)
GLOBAL_FIELDS = (
    Field("free_share", 0, 1, "GPUs (processors) that are free over all"),
    Field("running_jobs", 0, 1e6, "jobs that run"),
    Field("waiting_jobs", 0, 1e6, "jobs that wait, beyond the window too"),
    Field("waiting_hours", 0, 1e6, "estimated work that waits over the cluster's size, hours"),
    Field("load_6h", 0, 1e3, "estimated work that arrives over the cluster's size, exponentially weighted over 6 h"),
    Field("head_wait_s", 0, 1e9, "seconds since the head arrived"),
    Field("head_reservation_s", 0, 1e8, "seconds until the head's reservation; 0 where it fits"),
    Field("head_slip_s", 0, 1e8, "seconds by which the head's reservation is later than first promised"),
    Field("fragmentation", 0, 1, "share of the free GPUs that no typical job can use"),
    Field("down_share", 0, 1, "share of the machines (interchangeable processors) that are down"),
    Field("cluster_size", 0, 1e7, "GPUs (processors) of the cluster"),
)

TELEMETRY_FIELDS = frozenset(
    {
        "estimate_s",
        "slowdown",
        "fits",
        "tenant_share",
        "head_delay_s",
        "displaced_slowdown",
        "free_share",
        "running_jobs",
        "waiting_hours",
        "load_6h",
        "head_reservation_s",
        "head_slip_s",
        "fragmentation",
        "down_share",
    }
)
"""Fields that depend on what machines and jobs report; what is derived from run-time estimates is among them, since
predictions are made from jobs that have ended. The others the scheduler's own queue knows: which choices are legal,
sizes, arrivals, waits, who is overdue and passed by whom."""


def layout_for(window: int) -> Layout:
    """The scheduler's observation layout for a window of ``window`` waiting jobs; its last row stands for waiting."""
    return Layout(SLOT_FIELDS, GLOBAL_FIELDS, window + 1)
