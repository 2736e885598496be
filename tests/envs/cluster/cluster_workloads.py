"""Small random clusters and jobs, as the naive simulator and the one under test take them.

Times are small whole numbers, so that simultaneous events, ties and zero gaps are the rule; or multiples of 0.1, whose
sums round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from naive_cluster import Job, Setup

from handrail.envs.cluster import ClusterConfig, Faults, MachineGroup, MachineOutage
from handrail.traces import JobTrace

Pick = Callable[[int, int], int]
"""A source of whole numbers between two bounds, both included."""

TENANTS = 3


def seeded(seed: int) -> Pick:
    """Picks from a seed."""
    rng = np.random.default_rng(seed)
    return lambda low, high: int(rng.integers(low, high + 1))


def draw_jobs(pick: Pick, most: int, largest: int, *, each: int = 1, unit_s: float = 1.0) -> list[Job]:
    """Up to ``most`` jobs of up to ``largest`` tasks, each on up to ``each`` processors of one machine."""
    jobs, arrival_s = [], 0.0
    longest = (3, 12, 40)[pick(0, 2)]
    accuracy = pick(0, 3)  # estimates that are exact, too long, too short and too long, all alike
    for row in range(pick(1, most)):
        arrival_s += unit_s * (pick(1, 8) if pick(0, 2) else 0)
        run = pick(1, longest)
        estimate = (run, run + pick(0, 9), max(run + pick(-6, 9), 1), longest)[accuracy]
        tasks = pick(1, largest) if pick(0, 3) else largest
        jobs.append(
            Job(row, arrival_s, run * unit_s, estimate * unit_s, tasks, pick(1, each), tenant=pick(0, TENANTS - 1))
        )
    return jobs


def draw_rules(pick: Pick) -> Setup:
    """Interchangeable processors under the standard protocol."""
    processors = pick(1, 9)
    quotas = tuple(float(pick(max(processors // 2, 1), processors)) for _ in range(TENANTS))
    discipline = ("fcfs", "sjf", "saf", "f1", "f2", "f3", "f4", "wfp3", "unicep", "drf")[pick(0, 9)]
    backfill = ("none", "easy", "conservative")[pick(0, 2)]
    knowledge = ("user_estimate", "true", "predicted")[pick(0, 2)]
    if discipline in ("fcfs", "drf") and backfill == "none" and pick(0, 1):
        knowledge = "none"
    return Setup(
        machines=(processors,),
        discipline=discipline,
        backfill=backfill,
        knowledge=knowledge,
        kill_at_limit=pick(0, 2) == 0,
        wait_limit_s=float(pick(0, 12)) if pick(0, 1) else None,
        overdue_passes=pick(0, 3),
        quotas=quotas if pick(0, 2) == 0 else None,
        queueing=pick(0, 9) > 0,
        origin_s=float(pick(0, 50)),
    )


def draw_machines(pick: Pick) -> Setup:
    """Machines that differ in speed and fail, without backfilling."""
    n, gpus = pick(1, 4), pick(1, 4)
    slow = pick(0, 1)
    outages = []
    for _ in range(pick(0, 3)):
        start = pick(0, 30)
        outages.append((pick(0, n - 1), float(start), float(start + pick(1, 15))))
    return Setup(
        machines=(gpus,) * n,
        speeds=tuple((1.0, 0.5, 2.0)[pick(0, 2)] if slow else 1.0 for _ in range(n)),
        first_fit=bool(pick(0, 1)),
        discipline=("fcfs", "sjf", "saf", "wfp3", "drf")[pick(0, 4)],
        knowledge=("user_estimate", "true", "predicted")[pick(0, 2)],
        wait_limit_s=float(pick(0, 12)) if pick(0, 1) else None,
        outages=tuple(outages),
        checkpoint_s=(None, 1.0, 3.0)[pick(0, 2)],
        kill_at_limit=pick(0, 2) == 0,
    )


def config_of(setup: Setup, *, on_gpus: bool = False) -> ClusterConfig:
    """The same cluster for the simulator under test: interchangeable processors, or machines with GPUs."""
    outages = tuple(MachineOutage(machine=m, start_s=start_s, end_s=end_s) for m, start_s, end_s in setup.outages)
    groups = tuple(
        MachineGroup(name=f"m{i}", machines=1, gpus=gpus, speed=speed)
        for i, (gpus, speed) in enumerate(zip(setup.machines, setup.speeds, strict=True))
    )
    quotas = None if setup.quotas is None else {f"tenant{i}": quota for i, quota in enumerate(setup.quotas)}
    return ClusterConfig(
        processors=None if on_gpus else setup.machines[0],
        groups=groups if on_gpus else (),
        discipline=setup.discipline,
        backfill=setup.backfill,
        knowledge=setup.knowledge,
        placement="first-fit" if setup.first_fit else "best-fit",
        protocol="rlscheduler" if setup.rlscheduler else "standard",
        kill_at_limit=setup.kill_at_limit,
        wait_limit_s=setup.wait_limit_s,
        overdue_passes=setup.overdue_passes,
        quotas=quotas,
        queueing=setup.queueing,
        faults=Faults(outages=outages, checkpoint_s=setup.checkpoint_s),
    )


def trace_of(jobs: list[Job], *, origin_s: float = 0.0, on_gpus: bool = False) -> JobTrace:
    """The same jobs for the simulator under test: tasks of processors, or of whole GPUs."""
    each = np.array([job.each for job in jobs])
    return JobTrace(
        arrival_s=np.array([job.arrival_s for job in jobs]),
        run_s=np.array([job.run_s for job in jobs]),
        estimate_s=np.array([job.user_estimate_s for job in jobs]),
        tasks=np.array([job.tasks for job in jobs]),
        gpu_milli=1000 * each if on_gpus else 0 * each,
        cpu_milli=0 * each if on_gpus else 1000 * each,
        memory_mib=0 * each,
        tenant=np.array([job.tenant for job in jobs]),
        tenant_names=tuple(f"tenant{i}" for i in range(TENANTS)),
        notes={"origin_s": origin_s},
    )


def fresh(jobs: list[Job]) -> list[Job]:
    """Jobs to which nothing has happened yet."""
    return [replace(job, hosts=[]) for job in jobs]
