"""The state that scheduling passes work on: pool, waiting and running jobs, and what starting and ending a job does."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from ...traces.errors import HandrailError
from ..common.clock import Clock
from .config import ClusterConfig
from .cost import CostMeter
from .disciplines import make_discipline
from .faults import JobLuck
from .jobs import JobTable
from .overdue import OverduePasses
from .pool import ResourcePool
from .results import FINISHED, UNFINISHED, ClusterResults, Usage
from .running import ENDS_FAILED, ENDS_FINISHED, ENDS_KILLED, Attempt, RunningJobs
from .waiting import WaitingJobs

MIN_WORK_S = 1e-9
"""Least work of an attempt that resumes at its very end."""


class ClusterState:
    """Everything of a replay that changes, and the two things that happen to a job: it takes machines, it gives them
    back.

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
        self._luck = JobLuck(config.faults, n, seed)
        self._at_end = at_end
        self._end_priority = end_priority
        self._run_s: list[float] = trace.run_s.tolist()
        self._limit_s: list[float] = trace.estimate_s.tolist() if config.kill_at_limit else []
        self._done_s: dict[int, float] = {}  # work that restarts resume from
        self._used_s: dict[int, float] = {}  # of restarts' limits, what earlier attempts used up
        self._failures: dict[int, int] = {}
        self._preempted: dict[int, int] = {}
        self._attempts: dict[int, int] = {}  # of jobs that took machines more than once
        self._wasted_s: dict[int, float] = {}
        self.start_s = array("d", [np.nan]) * n
        self.finish_s = array("d", [np.nan]) * n
        self._service_s = array("d", [0.0]) * n
        self._status = array("b", [UNFINISHED]) * n
        self._usage_s = array("d", [0.0])
        self._busy = array("d", [0.0])
        self._down = array("d", [0.0])
        self.busy_size = 0.0
        self.down_size = 0.0
        self._has_shares = bool((self.jobs.size % 1.0 != 0.0).any())
        self._track_shares = config.discipline == "drf"
        self._held = [[0.0, 0.0, 0.0] for _ in range(self.jobs.n_tenants)]  # GPUs, processors, memory

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
        if isnan(self.start_s[row]):
            self.start_s[row] = now_s
        self.started += 1
        self._hold(row, 1.0, now_s)
        return attempt

    def _attempt(self, row: int, now_s: float, allocation: Any) -> Attempt:
        done_s = self._done_s.get(row, 0.0)
        left_s = max(self._run_s[row] - done_s, MIN_WORK_S)
        number = self._attempts.get(row, 0)
        self._attempts[row] = number + 1
        slowdown = self._luck.slowdown(row, number)
        speed = self.pool.speed(allocation)
        overhead_s = self.config.preemption.overhead_s if row in self._preempted else 0.0
        ending = ENDS_FINISHED
        share = self._luck.fails_after(row, self._failures.get(row, 0))
        if share is not None:
            ending, left_s = ENDS_FAILED, left_s * share
        duration_s = overhead_s + left_s * slowdown / speed
        if self._limit_s:
            # Limits, as run times, are those of machines of speed 1.
            allowed_s = (self._limit_s[row] - self._used_s.get(row, 0.0)) / speed
            if duration_s > allowed_s:
                ending, duration_s = ENDS_KILLED, max(allowed_s, 0.0)
        expected_s = overhead_s + self.expected_s(row) / speed
        attempt = Attempt(
            row, now_s, allocation, speed / slowdown, overhead_s, ending, expected_s, self.started, self._at_end
        )
        if duration_s < float("inf"):
            self.clock.at(now_s + duration_s, attempt.ended, self._end_priority)
        return attempt

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
        if self._usage_s[-1] == now_s:
            self._busy[-1] = self.busy_size
            self._down[-1] = self.down_size
            return
        self._usage_s.append(now_s)
        self._busy.append(self.busy_size)
        self._down.append(self.down_size)

    def give_back(self, attempt: Attempt) -> None:
        """End an attempt: its machines are free, its seconds are counted."""
        now_s = self.clock.now
        row = attempt.row
        self.changes += 1
        attempt.alive = False
        self.running.remove(attempt)
        self.pool.release(attempt.allocation)
        self._service_s[row] += now_s - attempt.started_s
        self._hold(row, -1.0, now_s)

    def settle(self, row: int, status: int) -> None:
        """End a job for good."""
        self.finish_s[row] = self.clock.now
        self._status[row] = status
        if self.cost is not None:
            self.cost.ended(row, self.clock.now)
        if status == FINISHED:
            run_s = self._run_s[row]
            if self.jobs.predictor is not None:
                self.jobs.predictor.learn(row, run_s)
            self.discipline.learn(run_s * self.jobs.size_of[row])

    def refuse(self, row: int, status: int) -> None:
        """Turn a job away that never ran."""
        self._status[row] = status

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
        self.jobs.attained_s[row] = kept_s
        self.waste(row, now_s - attempt.started_s - (kept_s - before_s) / attempt.rate)

    def waste(self, row: int, seconds: float) -> None:
        """Count seconds on machines that brought the job nothing."""
        self._wasted_s[row] = self._wasted_s.get(row, 0.0) + max(seconds, 0.0)

    def count_failure(self, row: int) -> int:
        """Count an own failure of the job; how many there were."""
        self._failures[row] = self._failures.get(row, 0) + 1
        return self._failures[row]

    def count_preemption(self, row: int) -> None:
        """Count a preemption of the job."""
        self._preempted[row] = self._preempted.get(row, 0) + 1

    def results(self, measured_s: tuple[float, float] | None, sampled: tuple[array, array]) -> ClusterResults:
        """The columns so far."""
        trace, now_s = self.trace, self.clock.now
        n = len(trace)
        service_s = np.array(self._service_s)
        for attempt in self.running.by_row.values():
            service_s[attempt.row] += now_s - attempt.started_s
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
            estimate_s=np.nan_to_num(self.jobs.estimate_s, nan=0.0),
            start_s=np.array(self.start_s),
            finish_s=np.array(self.finish_s),
            service_s=service_s,
            wasted_s=_column(self._wasted_s, n, np.float64),
            attempts=_column(self._attempts, n, np.int64),
            preemptions=_column(self._preempted, n, np.int64),
            status=np.array(self._status, dtype=np.int8),
            measured=measured,
            cluster_size=self.config.size,
            size_unit=self.config.size_unit,
            tenant_names=tuple(trace.tenant_names or ()),
            usage=Usage(
                np.array(self._usage_s),
                np.array(self._busy),
                np.array(self._down),
                np.array(sampled[0]),
                np.array(sampled[1]),
            ),
            end_s=now_s,
        )


def _column(values: dict[int, Any], n: int, kind: type) -> NDArray[Any]:
    out = np.zeros(n, dtype=kind)
    if values:
        out[np.fromiter(values, dtype=np.int64)] = np.fromiter(values.values(), dtype=kind)
    return out
