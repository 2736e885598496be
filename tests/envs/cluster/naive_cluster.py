"""A naive simulator of a cluster: the rules of the standard and of RLScheduler's protocol, with no thought of speed.

It shares no code with the simulator under test, keeps no index, no sorted queue and no event queue: whatever it wants
to know it works out anew from the list of all jobs. Scores are NumPy scalars, so that logarithms and powers round the
same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

FINISHED, REJECTED, UNFINISHED, FAILED, KILLED = 0, 1, 2, 3, 4
INF = math.inf


@dataclass(frozen=True)
class Setup:
    """A cluster and its rules; the fields mean what they mean in ``ClusterConfig``.

    ``machines`` holds the processors (GPUs) of each machine; interchangeable processors are one machine.
    """

    machines: tuple[int, ...]
    speeds: tuple[float, ...] = (1.0,)
    first_fit: bool = True
    discipline: str = "fcfs"
    backfill: str = "none"
    knowledge: str = "user_estimate"
    rlscheduler: bool = False
    kill_at_limit: bool = False
    wait_limit_s: float | None = None
    overdue_passes: int = 50
    quotas: tuple[float, ...] | None = None
    queueing: bool = True
    outages: tuple[tuple[int, float, float], ...] = ()
    checkpoint_s: float | None = None
    origin_s: float = 0.0


@dataclass
class Job:
    """One job and all that becomes of it."""

    row: int
    arrival_s: float
    run_s: float
    user_estimate_s: float
    tasks: int
    each: int = 1
    tenant: int = 0

    state: str = "to come"  # then waiting, running, over
    status: int = UNFINISHED
    known_s: float = 0.0
    first_start_s: float = math.nan
    finish_s: float = math.nan
    serial: int = -1
    started_s: float = 0.0
    ends_s: float = INF
    killed: bool = False
    expected_s: float = 0.0
    speed: float = 1.0
    hosts: list[int] = field(default_factory=list)
    done_s: float = 0.0
    restarted: bool = False
    service_s: float = 0.0
    used_s: float = 0.0
    attempts: int = 0
    passes: int = 0

    @property
    def size(self) -> int:
        return self.tasks * self.each


class Cluster:
    """All jobs, all machines, and the clock."""

    def __init__(self, setup: Setup, jobs: Sequence[Job]) -> None:
        self.setup = setup
        self.jobs = list(jobs)
        self.now_s = 0.0
        self.starts = 0
        self.completed: list[Job] = []
        self.committed: Job | None = None
        self.shadow_s: float | None = None
        self.promised_s: dict[int, float] = {}

    # What is the case now.

    def waiting(self) -> list[Job]:
        return [job for job in self.jobs if job.state == "waiting"]

    def running(self) -> list[Job]:
        return [job for job in self.jobs if job.state == "running"]

    def is_down(self, machine: int) -> bool:
        return any(m == machine and start_s <= self.now_s < end_s for m, start_s, end_s in self.setup.outages)

    def free(self, holders: Iterable[Job]) -> list[int]:
        """Free processors of each machine if ``holders`` run; a machine that is down has none."""
        free = list(self.setup.machines)
        for job in holders:
            for host in job.hosts:
                free[host] -= job.each
        return [0 if self.is_down(machine) else left for machine, left in enumerate(free)]

    def hosts_for(self, job: Job, free: list[int]) -> list[int] | None:
        free, hosts = list(free), []
        for _ in range(job.tasks):
            fitting = [machine for machine, left in enumerate(free) if left >= job.each]
            if not fitting:
                return None
            host = fitting[0] if self.setup.first_fit else min(fitting, key=lambda machine: (free[machine], machine))
            free[host] -= job.each
            hosts.append(host)
        return hosts

    def fits(self, job: Job) -> bool:
        return self.hosts_for(job, self.free(self.running())) is not None

    def held_by(self, tenant: int) -> int:
        return sum(job.size for job in self.running() if job.tenant == tenant)

    def within_quota(self, job: Job) -> bool:
        quotas = self.setup.quotas
        return quotas is None or self.held_by(job.tenant) + job.size <= quotas[job.tenant]

    def is_overdue(self, job: Job) -> bool:
        limit_s = self.setup.wait_limit_s
        return limit_s is not None and self.now_s - job.arrival_s > limit_s

    def expected_s(self, job: Job) -> float:
        """What the scheduler expects the job to run from now on at speed 1."""
        return max(job.known_s - job.done_s, 1.0) if job.restarted else job.known_s

    def expected_end_s(self, job: Job) -> float:
        """A running job's expected end; the expected duration doubles until that lies ahead."""
        if job.started_s + job.expected_s > self.now_s:
            return job.started_s + job.expected_s
        expected_s = max(job.expected_s, 1.0)
        while job.started_s + expected_s <= self.now_s:
            expected_s *= 2
        return job.started_s + expected_s

    # The standing order.

    def score(self, job: Job) -> float:
        run, size, waited = np.float64(job.known_s), np.float64(job.size), np.float64(self.now_s - job.arrival_s)
        submitted = np.log10(np.maximum(np.float64(job.arrival_s + self.setup.origin_s), 1.0))
        with np.errstate(all="ignore"):
            scores: dict[str, Callable[[], np.float64 | float]] = {
                "fcfs": lambda: job.arrival_s,
                "sjf": lambda: run,
                "saf": lambda: run * size,
                "f1": lambda: np.log10(run) * size + 870.0 * submitted,
                "f2": lambda: np.sqrt(run) * size + 25_600.0 * submitted,
                "f3": lambda: run * size + 6_860_000.0 * submitted,
                "f4": lambda: run * np.sqrt(size) + 530_000.0 * submitted,
                "wfp3": lambda: -(np.power(waited / run, 3) * size),
                "unicep": lambda: -waited / (np.log2(size) * run if size > 1 else 1e-300 * run),
                "drf": lambda: self.held_by(job.tenant) / sum(self.setup.machines),
            }
            return float(scores[self.setup.discipline]())

    def standing_order(self) -> list[Job]:
        overdue = [job for job in self.waiting() if self.is_overdue(job)]
        rest = [job for job in self.waiting() if not self.is_overdue(job)]
        return overdue + sorted(rest, key=lambda job: (self.score(job), job.row))

    # What happens to a job.

    def arrive(self, job: Job) -> None:
        """Into the queue, or turned away if it can never run."""
        job.known_s = self.known(job)
        empty = self.hosts_for(job, list(self.setup.machines)) is not None
        allowed = self.setup.quotas is None or job.size <= self.setup.quotas[job.tenant]
        if not (empty and allowed):
            job.state, job.status = "over", REJECTED
        else:
            job.state = "waiting"

    def known(self, job: Job) -> float:
        if self.setup.knowledge == "true":
            return job.run_s
        if self.setup.knowledge == "user_estimate":
            if self.setup.rlscheduler and math.isnan(job.user_estimate_s):
                return job.run_s
            return job.user_estimate_s
        if self.setup.knowledge == "none":
            return 0.0
        alike = [lambda old: (old.tenant, old.size) == (job.tenant, job.size), lambda old: old.size == job.size]
        for matches in (*alike, lambda old: True):
            logarithms = [math.log(max(old.run_s, 1.0)) for old in self.completed if matches(old)]
            if len(logarithms) >= 5:
                mean = 0.0
                for count, logarithm in enumerate(logarithms, start=1):
                    mean += max(1 / count, 0.1) * (logarithm - mean)
                return math.exp(mean)
        return 3600.0

    def try_to_start(self, job: Job) -> bool:
        hosts = self.hosts_for(job, self.free(self.running()))
        if hosts is None:
            return False
        for other in self.waiting():
            if other.row < job.row and self.is_overdue(other):
                other.passes += 1
        job.state, job.hosts = "running", hosts
        job.serial, self.starts = self.starts, self.starts + 1
        job.speed = min(self.setup.speeds[host] for host in hosts)
        job.attempts += 1
        job.started_s = self.now_s
        if math.isnan(job.first_start_s):
            job.first_start_s = self.now_s
        job.expected_s = self.expected_s(job) / job.speed
        duration_s = max(job.run_s - job.done_s, 1e-9) / job.speed
        job.killed = False
        if self.setup.kill_at_limit and duration_s > self.allowed_s(job):
            job.killed, duration_s = True, max(self.allowed_s(job), 0.0)
        job.ends_s = self.now_s + duration_s
        return True

    def allowed_s(self, job: Job) -> float:
        """What is left of the job's limit, on the machines that it has now."""
        return (job.user_estimate_s - job.used_s) / job.speed

    def end(self, job: Job) -> None:
        job.service_s += self.now_s - job.started_s
        job.state, job.finish_s = "over", self.now_s
        job.status = KILLED if job.killed else FINISHED
        if not job.killed:
            self.completed.append(job)

    def lose_machine(self, job: Job) -> None:
        """Back into the queue, with the work up to the last checkpoint."""
        job.service_s += self.now_s - job.started_s
        job.used_s += (self.now_s - job.started_s) * job.speed
        worked_s = job.done_s + max(self.now_s - job.started_s, 0.0) * job.speed
        every_s = self.setup.checkpoint_s
        if every_s is not None:
            job.done_s = max(job.done_s, worked_s // every_s * every_s)
        job.restarted = True
        job.state = "waiting"

    # Scheduling passes.

    def start_in_order(self) -> Job | None:
        """Start what stands first while it fits; the job that blocks."""
        while True:
            eligible = [job for job in self.standing_order() if self.within_quota(job)]
            if not eligible:
                return None
            if not self.try_to_start(eligible[0]):
                return eligible[0]

    def free_at(self, at_s: float) -> int:
        """Processors free at a time if running jobs end when expected and nothing starts."""
        busy = sum(job.size for job in self.running() if self.expected_end_s(job) > at_s)
        return sum(self.setup.machines) - busy

    def may_pass_overdue(self, job: Job) -> bool:
        if self.is_overdue(job):
            return False
        passed = [o for o in self.waiting() if o.row < job.row and self.is_overdue(o) and self.within_quota(o)]
        return all(other.passes < self.setup.overdue_passes for other in passed)

    def in_turn(self, job: Job) -> bool:
        if not self.is_overdue(job):
            return self.may_pass_overdue(job)
        return job is next(o for o in self.waiting() if self.is_overdue(o) and self.within_quota(o))

    def easy(self) -> None:
        head = self.start_in_order()
        if head is None:
            return
        ends_s = sorted(self.expected_end_s(job) for job in self.running())
        at_s = next((end_s for end_s in [self.now_s, *ends_s] if self.free_at(end_s) >= head.size), INF)
        for job in self.standing_order():
            if job is head or not self.within_quota(job):
                continue
            overdue_wait = any(self.is_overdue(other) for other in self.waiting())
            if overdue_wait and not self.may_pass_overdue(job):
                continue
            in_time = self.now_s + self.expected_s(job) <= at_s
            if in_time or job.size <= self.free_at(at_s) - head.size:
                self.try_to_start(job)

    def conservative(self) -> None:
        now_s = self.now_s
        order = [job for job in self.standing_order() if self.within_quota(job) and self.in_turn(job)]
        old, self.promised_s = self.promised_s, {}

        def free_in(at_s: float, but: Job) -> int:
            taken = sum(
                other.size
                for other in order
                if other is not but
                and other.row in self.promised_s
                and self.promised_s[other.row] <= at_s < self.promised_s[other.row] + self.expected_s(other)
            )
            return self.free_at(at_s) - taken

        def edges() -> list[float]:
            ends_s = [self.expected_end_s(job) for job in self.running()]
            for other in order:
                if other.row in self.promised_s and self.promised_s[other.row] < INF:
                    ends_s += [self.promised_s[other.row], self.promised_s[other.row] + self.expected_s(other)]
            return sorted({now_s, *(end_s for end_s in ends_s if end_s > now_s)})

        def fits_from(job: Job, start_s: float) -> bool:
            until_s = start_s + self.expected_s(job)
            instants = [start_s, *(edge_s for edge_s in edges() if start_s < edge_s < until_s)]
            return all(free_in(instant_s, job) >= job.size for instant_s in instants)

        def earliest(job: Job) -> float:
            return next((edge_s for edge_s in edges() if fits_from(job, edge_s)), INF)

        promised = sorted((job for job in order if job.row in old), key=lambda job: (old[job.row], job.row))
        for job in promised:
            start_s = max(old[job.row], now_s)
            self.promised_s[job.row] = start_s if start_s < INF and fits_from(job, start_s) else earliest(job)
        for job in order:
            if job.row not in old:
                self.promised_s[job.row] = earliest(job)
        for job in order:
            del self.promised_s[job.row]
            start_s = earliest(job)
            may = self.within_quota(job) and self.in_turn(job)
            if not (start_s <= now_s and may and self.try_to_start(job)):
                self.promised_s[job.row] = start_s

    def reference(self) -> None:
        while True:
            if self.committed is None:
                order = self.standing_order()
                if not order:
                    return
                self.committed, self.shadow_s = order[0], None
            if self.try_to_start(self.committed):
                self.committed = None
                continue
            if self.setup.backfill == "reference":
                self.backfill_before(self.committed)
            return

    def backfill_before(self, committed: Job) -> None:
        if self.shadow_s is None:
            free = self.free_at_present()
            for job in sorted(self.running(), key=lambda job: (job.started_s + job.expected_s, job.serial)):
                free += job.size
                if free >= committed.size:
                    self.shadow_s = job.started_s + job.expected_s
                    break
        assert self.shadow_s is not None
        for job in self.waiting():
            if job is not committed and self.now_s + job.known_s < self.shadow_s:
                self.try_to_start(job)

    def free_at_present(self) -> int:
        return sum(self.free(self.running()))

    def schedule(self) -> None:
        if self.setup.rlscheduler:
            self.reference()
        elif self.setup.backfill == "easy":
            self.easy()
        elif self.setup.backfill == "conservative":
            self.conservative()
        else:
            self.start_in_order()
        if not self.setup.queueing:
            for job in self.waiting():
                job.state, job.status = "over", REJECTED

    # The clock.

    def run(self) -> Cluster:
        breaks = sorted({at_s for _, start_s, end_s in self.setup.outages for at_s in (start_s, end_s)})
        while any(job.state != "over" for job in self.jobs):
            coming = [job.arrival_s for job in self.jobs if job.state == "to come"]
            times_s = coming + [job.ends_s for job in self.running()] + [at_s for at_s in breaks if at_s >= self.now_s]
            times_s = [at_s for at_s in times_s if at_s < INF]
            if not times_s:
                return self
            self.now_s = min(times_s)
            if self.setup.rlscheduler:
                self.one_event()
            else:
                self.one_instant(breaks)
        return self

    def one_instant(self, breaks: list[float]) -> None:
        changed = False
        while self.now_s in breaks:
            breaks.remove(self.now_s)
            changed = True
        for job in sorted(self.running(), key=lambda job: job.serial):
            if any(self.is_down(host) for host in job.hosts):
                self.lose_machine(job)
        for job in sorted(self.running(), key=lambda job: job.serial):
            if job.ends_s == self.now_s:
                self.end(job)
                changed = True
        for job in self.jobs:
            if job.state == "to come" and job.arrival_s == self.now_s:
                self.arrive(job)
                changed = True
        if changed:
            self.schedule()

    def one_event(self) -> None:
        for job in self.jobs:
            if job.state == "to come" and job.arrival_s == self.now_s:
                self.arrive(job)
                self.schedule()
                return
        self.end(min((job for job in self.running() if job.ends_s == self.now_s), key=lambda job: job.serial))
        self.schedule()
