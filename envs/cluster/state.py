"""The state that scheduling passes work on: pool, waiting and running jobs, and what starting and ending a job does."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from ...traces.errors import HandrailError
from ..common.clock import Clock
from .config import ClusterConfig
from .cost import SHORT_JOB_S, CostMeter
from .disciplines import make_discipline
from .faults import JobLuck
from .jobs import JobTable
from .overdue import OverduePasses
from .pool import ResourcePool
from .record import Record
from .results import FINISHED, UNFINISHED, ClusterResults, Usage
from .running import ENDS_FAILED, ENDS_FINISHED, ENDS_KILLED, Attempt, RunningJobs
from .waiting import WaitingJobs

MIN_WORK_S = 1e-9
"""Least work of an attempt that resumes at its very end."""


_BY_ROW = ("_start_s", "_service_s", "_done_s", "_used_s", "_failures", "_preempted", "_attempts", "_wasted_s")
"""What is kept of jobs in the system."""


class ClusterState:
    """Everything of a replay that changes, and the two things that happen to a job: it takes machines, it gives them
    back.

    What is kept of a job while it is in the system is keyed by its row, and forgotten when it ends; columns of all jobs
    that change would have to be copied by a fork.

    Attributes:
        config, trace, clock, pool, jobs: What they say.
        discipline: The standing discipline.
        waiting: Jobs in their standing order.
        running: Jobs on machines.
        overdue: Passes that overdue jobs have suffered.
        tenant_size: GPUs (processors) that each tenant holds.
        quota: Most of them it may hold; None where there are no quotas.
        started: Jobs that took machines so far, restarts included.
        slowest_speed: Speed of the slowest machines.
        changes: Starts, ends and promotions so far: what was looked up at one number holds until the next.
        waiting_work: Estimated GPU-seconds (processor-seconds) of the waiting jobs.
        cost: What it counts a schedule's cost with, for rewards; None: it does not.
        settled: A row for each job that has ended: its row, first start, end, seconds of service and of waste,
            attempts, preemptions, status.
        settled_slowdown: Sum of the bounded slowdowns of the jobs that have ended.
        slow: Machines on which work takes longer now, by which factor.
    """

    def __init__(
        self,
        config: ClusterConfig,
        trace: JobTrace,
        clock: Clock,
        pool: ResourcePool,
        seed: np.random.SeedSequence,
        at_end: Callable[[Attempt], None],
        end_priority: int,
    ) -> None:
        n = len(trace)
        self.config = config
        self.trace = trace
        self.clock = clock
        self.pool = pool
        self.jobs = JobTable(trace, config)
        self.discipline = make_discipline(config)
        self._check_knowledge()
        self.waiting = WaitingJobs(self.jobs, self.discipline, config.wait_limit_s)
        self.running = RunningJobs(self.jobs.size_of)
        self.overdue = OverduePasses()
        self.tenant_size = [0.0] * self.jobs.n_tenants
        self.quota = self._quotas()
        self.started = 0
        self.changes = 0
        self.waiting_work = 0.0
        self.cost: CostMeter | None = None
        self.preemptive = self.discipline.preempts
        self.slowest_speed = min((group.speed for group in config.groups), default=1.0)
        self.luck = JobLuck.drawn(config.faults, n, seed)
        self._at_end = at_end
        self._end_priority = end_priority
        self._start_s: dict[int, float] = {}  # first starts
        self._service_s: dict[int, float] = {}  # of earlier attempts
        self._done_s: dict[int, float] = {}  # work that restarts resume from
        self._used_s: dict[int, float] = {}  # of restarts' limits, what earlier attempts used up
        self._failures: dict[int, int] = {}
        self._preempted: dict[int, int] = {}
        self._attempts: dict[int, int] = {}
        self._wasted_s: dict[int, float] = {}
        self.settled = Record(8)
        self.settled_slowdown = 0.0
        self.slow: dict[int, float] = {}
        self._usage = Record(3)  # since when, busy, down
        self._usage.latest.extend((0.0, 0.0, 0.0))
        self.busy_size = 0.0
        self.down_size = 0.0
        self._has_shares = bool((self.jobs.size % 1.0 != 0.0).any())
        self._track_shares = config.discipline == "drf"
        self._held = [[0.0, 0.0, 0.0] for _ in range(self.jobs.n_tenants)]  # GPUs, processors, memory

    def fork(self, clock: Clock, pool: ResourcePool, at_end: Callable[[Attempt], None]) -> ClusterState:
        """The state of a forked replay; the alarms of its attempts are still to be set."""
        twin = copy.copy(self)
        twin.clock = clock
        twin.pool = pool
        twin._at_end = at_end
        twin.jobs = self.jobs.fork()
        twin.discipline = self.discipline.fork()
        twin.waiting = self.waiting.fork(twin.jobs, twin.discipline)
        twin.running = self.running.fork(at_end)
        twin.overdue = self.overdue.fork()
        twin.tenant_size = self.tenant_size.copy()
        twin.cost = None if self.cost is None else self.cost.fork()
        for name in _BY_ROW:
            setattr(twin, name, getattr(self, name).copy())
        twin.settled = self.settled.fork()
        twin._usage = self._usage.fork()
        twin.slow = self.slow.copy()
        twin._held = [held.copy() for held in self._held] if self._track_shares else self._held
        return twin

    def _check_knowledge(self) -> None:
        config = self.config
        if config.knowledge == "none" and (self.discipline.needs_estimate or config.backfill != "none"):
            what = config.discipline if self.discipline.needs_estimate else f"{config.backfill} backfilling"
            raise HandrailError(f"{what} needs run times, but knowledge is none; use user_estimate or predicted")

    def _quotas(self) -> list[float] | None:
        if self.config.quotas is None:
            return None
        names = self.trace.tenant_names or ()
        unknown = set(self.config.quotas) - set(names)
        if unknown:
            raise HandrailError(f"cluster config: quotas names {min(unknown)!r}, but the trace has no such tenant")
        return [self.config.quotas.get(name, float("inf")) for name in names] or None

    @property
    def start_s(self) -> NDArray[np.float64]:
        """When each job first took machines, nan where it has not, a fresh array of shape (n,)."""
        out = np.full(self.jobs.n, np.nan)
        settled = self.settled.rows()
        out[settled[:, 0].astype(np.int64)] = settled[:, 1]
        if self._start_s:
            out[np.fromiter(self._start_s, dtype=np.int64)] = np.fromiter(self._start_s.values(), dtype=np.float64)
        return out

    def first_start_s(self, row: int) -> float | None:
        """When a job in the system first took machines; None if it has not."""
        return self._start_s.get(row)

    def waited_s(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The jobs in the system, rising, and for how long each has waited so far, in all; shapes (m,)."""
        running = self.running.by_row
        waiting = self.waiting.by_arrival()
        rows = np.concatenate((waiting, np.fromiter(running, dtype=np.int64, count=len(running))))
        until_s = np.full(len(rows), self.clock.now)
        until_s[len(waiting) :] = [attempt.started_s for attempt in running.values()]
        waited_s = until_s - self.jobs.arrival_s[rows]
        if self._service_s:
            waited_s -= [self._service_s.get(row, 0.0) for row in rows.tolist()]
        order = rows.argsort()
        return rows[order], waited_s[order]

    def attempts_of(self, row: int) -> int:
        """How often the job took machines so far."""
        return self._attempts.get(row, 0)

    def may_ever_run(self, row: int) -> bool:
        """Whether an empty cluster and an empty quota have room for the job."""
        quota = self.quota
        jobs = self.jobs
        if quota is not None and jobs.size_of[row] > quota[jobs.tenant_of[row]]:
            return False
        return self.pool.can_ever_fit(jobs.demands[row])

    @property
    def is_full(self) -> bool:
        """Whether too little is free for any job."""
        return self.pool.free_size < self.jobs.smallest

    def within_quota(self, row: int) -> bool:
        """Whether the job's tenant may take that much more now."""
        quota = self.quota
        if quota is None:
            return True
        tenant = self.jobs.tenant_of[row]
        return round(self.tenant_size[tenant] + self.jobs.size_of[row], 3) <= quota[tenant]

    def within_quotas(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``within_quota`` of several jobs, shape (len(rows),)."""
        if self.quota is None:
            return np.ones(len(rows), dtype=bool)
        tenant = self.jobs.tenant[rows]
        return np.round(np.array(self.tenant_size)[tenant] + self.jobs.size[rows], 3) <= np.array(self.quota)[tenant]

    def standing(self, now_s: float) -> NDArray[np.int64]:
        """The waiting jobs in their standing order, those left out whose tenants are at their quotas."""
        order = self.waiting.order(now_s)
        return order if self.quota is None else order[self.within_quotas(order)]

    def expected_s(self, row: int) -> float:
        """Seconds that the job is expected to run from now, overheads aside; +inf where nothing is known."""
        estimate_s = self.jobs.estimate_s[row]
        if self.config.knowledge == "none":
            return float("inf")
        done_s = self._done_s.get(row)
        return float(estimate_s) if done_s is None else max(float(estimate_s) - done_s, 1.0)

    def expected_all_s(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """``expected_s`` of several jobs, shape (len(rows),)."""
        if self._done_s or self.config.knowledge == "none":
            return np.array([self.expected_s(row) for row in rows.tolist()])
        return self.jobs.estimate_s[rows]

    def enqueue(self, row: int) -> None:
        """Put a job into the queue."""
        self.waiting.add(row, self.clock.now)
        self.waiting_work += float(self.jobs.estimate_s[row]) * self.jobs.size_of[row]
        if self.cost is not None:
            self.cost.queued(row, self.clock.now)

    def promote(self) -> None:
        """Move jobs that have become overdue to the front of the queue."""
        for row in self.waiting.promote(self.clock.now):
            self.overdue.note_overdue(row)
            self.changes += 1

    def dequeue(self, row: int) -> None:
        """Take a job out of the queue."""
        self.waiting.remove(row)
        self.waiting_work -= float(self.jobs.estimate_s[row]) * self.jobs.size_of[row]
        self.overdue.forget(row)
        self.changes += 1

    def start(self, row: int, allocation: Any) -> Attempt:
        """Start a waiting job on what ``pool.place`` gave for it."""
        now_s = self.clock.now
        self.waiting.remove(row)
        self.waiting_work -= float(self.jobs.estimate_s[row]) * self.jobs.size_of[row]
        self.overdue.note_start(row)
        self.changes += 1
        if self.cost is not None:
            self.cost.started(row, now_s)
        attempt = self._attempt(row, now_s, allocation)
        self.running.add(attempt)
        if row not in self._start_s:
            self._start_s[row] = now_s
        self.started += 1
        self._hold(row, 1.0, now_s)
        return attempt

    def _attempt(self, row: int, now_s: float, allocation: Any) -> Attempt:
        number = self._attempts.get(row, 0)
        self._attempts[row] = number + 1
        slowdown = self.luck.slowdown(row, number)
        speed = self.pool.speed(allocation)
        overhead_s = self.config.preemption.overhead_s if row in self._preempted else 0.0
        ending, left_s = self._own_end(row)
        rate = speed / slowdown
        if self.slow:
            rate = self.pool.speed_slowed(allocation, self.slow) / slowdown
            duration_s = overhead_s + left_s / rate
        else:
            duration_s = overhead_s + left_s * slowdown / speed
        if self.jobs.limit_of is not None:
            allowed_s = self._allowed_s(row, speed)
            if duration_s > allowed_s:
                ending, duration_s = ENDS_KILLED, allowed_s
        expected_s = overhead_s + self.expected_s(row) / speed
        attempt = Attempt(row, now_s, allocation, rate, overhead_s, ending, expected_s, self.started, self._at_end)
        if duration_s < inf:
            attempt.alarm = self.clock.at(now_s + duration_s, attempt.ended, self._end_priority)
        return attempt

    def _own_end(self, row: int) -> tuple[int, float]:
        """How the attempt ends if no limit does it, and the work that it does until then."""
        left_s = max(self.jobs.run_of[row] - self._done_s.get(row, 0.0), MIN_WORK_S)
        share = self.luck.fails_after(row, self._failures.get(row, 0))
        return (ENDS_FINISHED, left_s) if share is None else (ENDS_FAILED, left_s * share)

    def _allowed_s(self, row: int, speed: float) -> float:
        """How long the attempt may take: limits, as run times, are those of machines of speed 1."""
        limit_of = self.jobs.limit_of
        assert limit_of is not None
        return max((limit_of[row] - self._used_s.get(row, 0.0)) / speed, 0.0)

    def retime(self, attempt: Attempt) -> None:
        """Work on an attempt's machines may go on at another pace: move its end."""
        row = attempt.row
        slowdown = self.luck.slowdown(row, self._attempts[row] - 1)
        rate = self.pool.speed_slowed(attempt.allocation, self.slow) / slowdown
        if rate != attempt.rate:
            now_s = self.clock.now
            attempt.retimed = now_s, attempt.worked_s(now_s)
            attempt.rate = rate
            self.set_end(attempt)

    def set_end(self, attempt: Attempt) -> None:
        """Work out anew how and when an attempt ends, from what it has worked so far."""
        row, now_s = attempt.row, self.clock.now
        attempt.ending, work_s = self._own_end(row)
        works_from_s = max(now_s, attempt.started_s + attempt.overhead_s)
        end_s = works_from_s + max(work_s - attempt.worked_s(now_s), 0.0) / attempt.rate
        if self.jobs.limit_of is not None:
            limit_s = attempt.started_s + self._allowed_s(row, self.pool.speed(attempt.allocation))
            if end_s > limit_s:
                attempt.ending, end_s = ENDS_KILLED, max(limit_s, now_s)
        if attempt.alarm is not None:
            attempt.alarm.callbacks.clear()
        attempt.alarm = self.clock.at(end_s, attempt.ended, self._end_priority) if end_s < inf else None

    def take_table(self, jobs: JobTable) -> None:
        """Go on with another table, in which what is known of the jobs in the system is the same."""
        self.jobs = jobs
        self.waiting.take_table(jobs)
        self.running.take_table(jobs)

    def failures_of(self, row: int) -> int:
        """How often the job failed by itself so far."""
        return self._failures.get(row, 0)

    def done_s(self, row: int) -> float:
        """Work of earlier attempts that a waiting or running job resumes from."""
        return self._done_s.get(row, 0.0)

    def _hold(self, row: int, sign: float, now_s: float) -> None:
        jobs = self.jobs
        size = jobs.size_of[row] * sign
        tenant = jobs.tenant_of[row]
        self.tenant_size[tenant] += size
        self.busy_size += size
        if self._has_shares:
            # Sizes are whole thousandths: rounding keeps sums of shares from drifting.
            self.tenant_size[tenant] = round(self.tenant_size[tenant], 3)
            self.busy_size = round(self.busy_size, 3)
        self.note_usage(now_s)
        if self._track_shares:
            self._update_share(row, tenant, sign)

    def _update_share(self, row: int, tenant: int, sign: float) -> None:
        held = self._held[tenant]
        demand = self.jobs.demands[row]
        for i, amount in enumerate((demand.gpu_milli, demand.cpu_milli, demand.memory_mib)):
            held[i] += sign * amount * demand.tasks
        capacity = self.capacities
        self.jobs.tenant_share[tenant] = max((h / c for h, c in zip(held, capacity, strict=True) if c > 0), default=0.0)

    @property
    def capacities(self) -> tuple[float, float, float]:
        """GPUs, processors (thousandths) and memory (MiB) of the cluster; 0 for what is not limited."""
        config = self.config
        if config.processors is not None:
            return 0.0, config.processors * 1000.0, 0.0
        groups = config.groups
        return (
            sum(g.machines * g.gpus * 1000.0 for g in groups),
            sum(g.machines * float(g.cpu_milli or 0) for g in groups),
            sum(g.machines * float(g.memory_mib or 0) for g in groups),
        )

    def note_usage(self, now_s: float) -> None:
        """Write down what is busy and down from now on."""
        usage = self._usage.latest
        if usage[-3] == now_s:
            usage[-2] = self.busy_size
            usage[-1] = self.down_size
            return
        usage.extend((now_s, self.busy_size, self.down_size))

    def give_back(self, attempt: Attempt) -> None:
        """End an attempt: its machines are free, its seconds are counted."""
        now_s = self.clock.now
        row = attempt.row
        self.changes += 1
        attempt.alive = False
        self.running.remove(attempt)
        self.pool.release(attempt.allocation)
        self._service_s[row] = self._service_s.get(row, 0.0) + (now_s - attempt.started_s)
        self._hold(row, -1.0, now_s)

    def settle(self, row: int, status: int) -> float:
        """End a job for good that ran; when it first started."""
        now_s, jobs = self.clock.now, self.jobs
        run_s = jobs.run_of[row]
        start_s = self._start_s.pop(row)
        service_s = self._service_s.pop(row)
        wasted_s, preemptions = 0.0, 0
        if self._wasted_s:
            wasted_s = self._wasted_s.pop(row, 0.0)
        attempts = self._attempts.pop(row)
        if row in self._done_s:
            del self._done_s[row], self._used_s[row]
            self._failures.pop(row, None)
            preemptions = self._preempted.pop(row, 0)
        self.settled.latest.extend((row, start_s, now_s, service_s, wasted_s, attempts, preemptions, status))
        self.settled_slowdown += max(1.0, (now_s - jobs.arrival_of[row]) / max(run_s, SHORT_JOB_S))
        if self.cost is not None:
            self.cost.ended(row, now_s)
        if status == FINISHED:
            if jobs.predictor is not None:
                jobs.predictor.recall(jobs.tenant_of[row], jobs.size_of[row], run_s)
            self.discipline.learn(run_s * jobs.size_of[row])
        return start_s

    def refuse(self, row: int, status: int) -> None:
        """Turn a job away that never ran."""
        self.settled.latest.extend((row, nan, nan, 0.0, 0.0, 0, 0, status))

    def fall_back(self, attempt: Attempt, lost_all_since_checkpoint: bool) -> None:
        """Put an ended attempt's job back to its last checkpoint (or, after a preemption, to where it stood)."""
        row = attempt.row
        now_s = self.clock.now
        before_s = self._done_s.get(row, 0.0)
        worked_s = before_s + attempt.worked_s(now_s)
        kept_s = worked_s
        if lost_all_since_checkpoint:
            every_s = self.config.faults.checkpoint_s
            kept_s = before_s if every_s is None else max(before_s, worked_s // every_s * every_s)
        self._done_s[row] = kept_s
        used_s = (now_s - attempt.started_s) * self.pool.speed(attempt.allocation)
        self._used_s[row] = self._used_s.get(row, 0.0) + used_s
        if self.preemptive:
            self.jobs.attained_s[row] = kept_s
        if attempt.retimed is None:
            useful_s = (kept_s - before_s) / attempt.rate
        else:
            # At several paces: as much of the time as of the work.
            active_s = max(now_s - attempt.started_s - attempt.overhead_s, 0.0)
            useful_s = active_s * (kept_s - before_s) / max(worked_s - before_s, MIN_WORK_S)
        self.waste(row, now_s - attempt.started_s - useful_s)

    def waste(self, row: int, seconds: float) -> None:
        """Count seconds on machines that brought the job nothing."""
        if seconds > 0.0:
            self._wasted_s[row] = self._wasted_s.get(row, 0.0) + seconds

    def count_failure(self, row: int) -> int:
        """Count an own failure of the job; how many there were."""
        self._failures[row] = self._failures.get(row, 0) + 1
        return self._failures[row]

    def count_preemption(self, row: int) -> None:
        """Count a preemption of the job."""
        self._preempted[row] = self._preempted.get(row, 0) + 1

    def results(
        self, measured_s: tuple[float, float] | None, sampled: tuple[array[float], array[float]], arrived: int
    ) -> ClusterResults:
        """The columns so far; ``arrived`` jobs have arrived."""
        trace, now_s = self.trace, self.clock.now
        n = len(trace)
        settled = self.settled.rows()
        ended = settled[:, 0].astype(np.int64)
        _, _, finish, served, wasted, attempts, preemptions, statuses = settled.T
        service_s = _column(self._service_s, n, np.float64)
        service_s[ended] = served
        for attempt in self.running.by_row.values():
            service_s[attempt.row] += now_s - attempt.started_s
        finish_s, status = np.full(n, np.nan), np.full(n, UNFINISHED, dtype=np.int8)
        finish_s[ended], status[ended] = finish, statuses
        estimate_s = np.nan_to_num(self.jobs.estimate_s, nan=0.0)
        if self.jobs.predictor is not None:
            estimate_s[arrived:] = 0.0  # what another fork predicts of them is not this one's
        usage = self._usage.rows()
        arrival_s = trace.arrival_s
        measured = np.ones(n, dtype=bool)
        if measured_s is not None:
            measured = (arrival_s >= measured_s[0]) & (arrival_s < measured_s[1])
        return ClusterResults(
            arrival_s=arrival_s,
            run_s=trace.run_s,
            size=self.jobs.size,
            tasks=trace.tasks,
            tenant=self.jobs.tenant,
            deadline_s=np.full(n, np.nan) if trace.deadline_s is None else trace.deadline_s,
            estimate_s=estimate_s,
            start_s=self.start_s,
            finish_s=finish_s,
            service_s=service_s,
            wasted_s=_column(self._wasted_s, n, np.float64, ended, wasted),
            attempts=_column(self._attempts, n, np.int64, ended, attempts),
            preemptions=_column(self._preempted, n, np.int64, ended, preemptions),
            status=status,
            measured=measured,
            cluster_size=self.config.size,
            size_unit=self.config.size_unit,
            tenant_names=tuple(trace.tenant_names or ()),
            usage=Usage(
                usage[:, 0].copy(),
                usage[:, 1].copy(),
                usage[:, 2].copy(),
                np.array(sampled[0]),
                np.array(sampled[1]),
            ),
            end_s=now_s,
        )


def _column(
    values: dict[int, Any],
    n: int,
    kind: type,
    ended: NDArray[np.int64] | None = None,
    final: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """A column of all jobs: ``values`` of those in the system, ``final`` ones of those that have ended, else 0."""
    out = np.zeros(n, dtype=kind)
    if values:
        out[np.fromiter(values, dtype=np.int64)] = np.fromiter(values.values(), dtype=kind)
    if ended is not None:
        out[ended] = final
    return out
