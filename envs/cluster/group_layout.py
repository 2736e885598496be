"""The observation of a placement policy: a row a group of machines, then the job and the cluster."""

from __future__ import annotations

from ..common import Field, Layout

GROUP_FIELDS = (
    Field("up", 0, 1, "1 where the group may take the job now"),
    Field("size_share", 0, 1, "GPUs (processors) of the group over those of the cluster"),
    Field("free_share", 0, 1, "GPUs (processors) of the group that are free over all of it"),
    Field("gpus_free", 0, 1e7, "GPUs (processors) of the group that are free"),
    Field("fits_after", 0, 1, "1 where another job like this one would still fit after it"),
    Field("speed", 0, 1e3, "run times are divided by it"),
    Field("type_match", 0, 1, "1 where the job fits the empty group: GPU model and size of its machines"),
    Field("expected_run_s", 0, 1e8, "run time there as far as it may be known, 0 where it may not"),
    Field("running_jobs", 0, 1e6, "jobs that run there"),
    Field("fragmentation", 0, 1, "share of the group's free GPUs that no typical job can use"),
)
JOB_FIELDS = (
    Field("job_size_share", 0, 1, "GPUs (processors) of the job over those of the cluster"),
    Field("job_size", 0, 1e7, "GPUs (processors) of the job"),
    Field("tasks", 0, 1e7, "tasks of the job"),
    Field("estimate_s", 0, 1e8, "run time at speed 1 as far as it may be known, 0 where it may not"),
    Field("wait_s", 0, 1e9, "seconds since the job arrived"),
    Field("overdue", 0, 1, "1 where the job has waited beyond the wait limit"),
    Field("running_jobs", 0, 1e6, "jobs that run"),
    Field("waiting_jobs", 0, 1e6, "jobs that wait, this one among them"),
    Field("waiting_hours", 0, 1e6, "estimated work that waits over the cluster's size, hours"),
    Field("load_6h", 0, 1e3, "estimated work that arrives over the cluster's size, exponentially weighted over 6 h"),
    Field("down_share", 0, 1, "share of machines that are down"),
    Field("cluster_size", 0, 1e7, "GPUs (processors) of the cluster"),
)


def group_layout(groups: int) -> Layout:
    """The placement policy's observation layout for a cluster of ``groups`` groups."""
    return Layout(GROUP_FIELDS, JOB_FIELDS, groups)
