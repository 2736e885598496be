"""A model of what a scheduler does not know, learned from what it has seen; it draws a fork's hidden part anew.

Run times are drawn from jobs that ended, of the same tenant and size where there are enough, given that the job has run
as long as it has. Future jobs are recent ones again, in blocks, so that gaps, sizes and tenants stay together.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .faults import JobLuck, MachineLife
from .jobs import JobShape, JobTable
from .knowledge import LONGEST_S, MIN_COMPLETED, PRIOR_S
from .results import FINISHED, KILLED

if TYPE_CHECKING:
    from .running import Attempt
    from .simulator import ClusterSimulator, DecisionPoint

RECENT_JOBS = 1000
"""Latest arrivals that future ones are drawn from."""

RECENT_ENDED = 500
"""Latest ended jobs of a class, and of all, that run times are drawn from."""

FUTURE_JOBS = 1 << 14
"""Most jobs that arrive in a redrawn future; they are drawn as they come."""

BLOCK_JOBS = 16
"""Jobs that are drawn together, as they came."""

LEAST_LEFT_S = 1e-3
"""What a running job has left at least."""

Class = tuple[int, float] | None
"""Tenant and size; None stands for all jobs."""

Samples = dict[Class, NDArray[np.float64]]
"""Run times, rising, by class; no array is ever written to."""


class HiddenModel:
    """What has been seen of one simulator's jobs.

    Args:
        simulator: The simulator that is watched.
    """

    def __init__(self, simulator: ClusterSimulator) -> None:
        self._simulator = simulator
        self._no_jobs = simulator.trace.head(0)
        faults = simulator.config.faults
        unplanned = faults.model_copy(update={"outages": (), "slowdowns": (), "processor_outages": ()})
        self._config = simulator.config.model_copy(update={"faults": unplanned})
        self._arrived = 0
        self._settled = 0
        self._last_s = 0.0
        self._kinds = 0
        self._smallest = inf
        self._recent: deque[tuple[int, float, JobShape]] = deque(maxlen=RECENT_JOBS)  # row, gap, what it showed
        self._run_s: dict[int, float] = {}  # of recent arrivals that ended
        self._ended: dict[Class, deque[float]] = {None: deque(maxlen=RECENT_ENDED)}
        self._stale: set[Class] = set()
        self._samples: Samples = {None: np.empty(0)}

    def note(self, point: DecisionPoint) -> None:
        """Take in what has happened since the last call; to be called at each decision of the watched simulator."""
        state = self._simulator.state
        jobs = state.jobs
        for row in range(self._arrived, self._simulator.arrived):
            if state.may_ever_run(row):
                self._note_arrival(row, jobs)
        self._arrived = self._simulator.arrived
        ended = state.settled.rows(self._settled)
        self._settled += len(ended)
        for row, status in zip(ended[:, 0].astype(int).tolist(), ended[:, 7].tolist(), strict=True):
            if status == FINISHED:
                self._note_end(row, jobs.run_of[row], jobs)
            elif status == KILLED and jobs.limit_of is not None:
                self._note_end(row, jobs.limit_of[row], jobs)

    def _note_arrival(self, row: int, jobs: JobTable) -> None:
        arrival_s = jobs.arrival_of[row]
        if len(self._recent) == RECENT_JOBS:
            self._run_s.pop(self._recent[0][0], None)
        shape = jobs.shape_of(row)
        self._recent.append((row, arrival_s - self._last_s, shape))
        self._last_s = arrival_s
        self._kinds = max(self._kinds, shape.kind + 1)
        self._smallest = min(self._smallest, shape.size)

    def _note_end(self, row: int, run_s: float, jobs: JobTable) -> None:
        if self._recent and row >= self._recent[0][0]:
            self._run_s[row] = run_s
        for of in ((jobs.tenant_of[row], jobs.size_of[row]), None):
            self._ended.setdefault(of, deque(maxlen=RECENT_ENDED)).append(run_s)
            self._stale.add(of)

    def redraw(self, fork: ClusterSimulator, rng: np.random.Generator, latency_factor: float = 1.0) -> None:
        """Draw anew, in a fork of the watched simulator, all that its scheduler cannot know.

        That is: what is left of the jobs that run, the run times of those that wait, jobs to come, failures, stragglers
        and slowdowns, machine outages and when machines that are down return. What the scheduler knows stays, estimates
        among it (and run times, where ``knowledge`` is ``true``). Outages and slowdowns that were planned are no more.
        The fork has no result columns after it, and no cost meter; fork observers for it afterwards.

        Args:
            fork: Stands where the watched simulator stood when `note` was last called.
            rng: Where all draws come from.
            latency_factor: Stretches all run times (of running jobs what is left of them), those known too.
        """
        for of in self._stale:
            self._samples[of] = np.sort(np.array(self._ended[of]))
        self._stale.clear()
        state = fork.state
        rows = state.waited_s()[0]
        before, arrived = state.jobs, fork.arrived
        goes_on = any(gap_s > 0.0 for _, gap_s, _ in self._recent)  # else nothing tells how often jobs come
        n = arrived + (FUTURE_JOBS if goes_on else 0)
        jobs = before.only(rows, n, max(self._kinds, int(before.kind[rows].max(initial=-1)) + 1))
        jobs.smallest = min(self._smallest, float(before.size[rows].min(initial=inf)))
        future = _Future(self, fork, jobs, rng, latency_factor)
        state.luck = JobLuck(self._config.faults, future.failures, future.stragglers)
        running = sorted(state.running.by_row.values(), key=lambda attempt: attempt.serial)
        done_s = {row: state.done_s(row) for row in rows.tolist()}
        for attempt in running:
            done_s[attempt.row] += _seen_to_work_s(attempt, fork)
        knows = self._config.knowledge == "true"
        for row, worked_s in done_s.items():
            total_s = (
                before.run_of[row] if knows else future.run_time_s(jobs.tenant_of[row], jobs.size_of[row], worked_s)
            )
            run_s = worked_s + max((total_s - worked_s) * latency_factor, LEAST_LEFT_S)
            limit_s = inf if jobs.limit_of is None else jobs.limit_of[row]
            jobs.run_of[row] = max(min(run_s, limit_s), worked_s + LEAST_LEFT_S) if limit_s < inf else run_s  # type: ignore[index]
            future.draw_luck(row)
        state.take_table(jobs)
        state.cost = None
        state.slow.clear()
        fork._slowed = {}
        fork.pool.reseed(rng)
        fork.trace = state.trace = self._no_jobs
        fork.config = state.config = self._config
        fork.redrawn = True
        fork._unsettled = len(rows) + jobs.n - arrived
        fork._sample_every = jobs.n + 1
        _forget_events(fork)
        for attempt in running:
            worked_s = _seen_to_work_s(attempt, fork)
            straggling = state.luck.slowdown(attempt.row, state.attempts_of(attempt.row) - 1)
            attempt.retimed = fork.now_s, worked_s
            attempt.rate = fork.pool.speed(attempt.allocation) / straggling
            attempt.alarm = None
            future.condition_failure(attempt)
            state.set_end(attempt)
        fork._schedule_arrival()
        self._draw_machines(fork, rng)

    def _draw_machines(self, fork: ClusterSimulator, rng: np.random.Generator) -> None:
        """Failures to come, and returns of what is down, from past repairs or else from the config's mean."""
        faults, now_s = self._config.faults, fork.now_s
        count, sum_s = fork.repairs
        repair_s = sum_s / count if count else faults.machine_repair_s
        down = sorted(fork._machines_down)
        fork._claims = dict.fromkeys(down, 1)
        returns_s = rng.exponential(repair_s, len(down)).tolist()
        seed, n = int(rng.integers(2**63)), fork.pool.n_machines
        lives: dict[int, MachineLife] = {}
        if faults.machine_mtbf_s is not None:
            for machine, up_s in enumerate(rng.exponential(faults.machine_mtbf_s, n).tolist()):
                life = MachineLife(faults, np.random.SeedSequence(seed, spawn_key=(machine,)), (up_s,))
                lives[machine] = life
                if machine not in fork._machines_down:
                    fork.call_at(now_s + up_s, "machine_event", machine, True, life, 1)
        for machine, after_s in zip(down, returns_s, strict=True):
            fork.call_at(now_s + after_s, "machine_event", machine, False, lives.get(machine), 0)
        for entry in fork._withdrawn:
            fork.call_at(now_s + float(rng.exponential(repair_s)), "restore_processors", entry)


def _seen_to_work_s(attempt: Attempt, simulator: ClusterSimulator) -> float:
    """Work of a running attempt as far as it shows: nobody sees whether it is slowed down."""
    active_s = max(simulator.now_s - attempt.started_s - attempt.overhead_s, 0.0)
    return active_s * simulator.pool.speed(attempt.allocation)


def _forget_events(simulator: ClusterSimulator) -> None:
    """Take off the clock all but a decision that is being made and a round that is due."""
    known = ("_take_effect", "_note_change")
    queue: list[Any] = [
        entry for entry in simulator._clock._queue if entry[3].callbacks and _name(entry[3].callbacks[0]) in known
    ]
    heapify(queue)
    simulator._clock._queue = queue


def _name(callback: Any) -> str:
    return getattr(callback, "__name__", "")


class _Arrivals(dict[int, float]):
    """Arrival times by row; asked for one that is not there, the future is drawn on to it."""

    def __init__(self, known: dict[int, float], future: _Future) -> None:
        super().__init__(known)
        self._future = future

    def __missing__(self, row: int) -> float:
        self._future.draw_block()
        return self[row]


class _Future:
    """Draws for one redrawn future. What comes later is drawn when it is first asked for, by whichever fork: in the
    order of the arrivals, from a stream of its own, so it is the same for all of them."""

    def __init__(
        self, model: HiddenModel, fork: ClusterSimulator, jobs: JobTable, rng: np.random.Generator, factor: float
    ) -> None:
        self._rng = np.random.default_rng(int(rng.integers(2**63)))
        self._recent = list(model._recent)
        self._run_s = model._run_s.copy()
        self._samples = model._samples.copy()
        self._jobs = jobs
        self._state = fork.state
        self._factor = factor
        self._faults = model._config.faults
        self._from_s = fork.now_s
        self._next = fork.arrived
        self._last_s = model._last_s
        self.failures: dict[int, NDArray[np.float64]] = {}
        self.stragglers: dict[int, NDArray[np.float64]] = {}
        jobs.arrival_of = _Arrivals(jobs.arrival_of, self)  # type: ignore[arg-type]

    def run_time_s(self, tenant: int, size: float, beyond_s: float) -> float:
        """A run time of that class given that it is longer than ``beyond_s``."""
        for of, least in (((tenant, size), MIN_COMPLETED), (None, 1)):
            found = self._samples.get(of)
            if found is not None:
                first = int(found.searchsorted(beyond_s, side="right"))
                if len(found) - first >= least:
                    return float(found[first + int(self._rng.integers(len(found) - first))])
        # Nothing that ended ran as long: what is left is taken to be about as long as what has been.
        typical_s = beyond_s if beyond_s > 0.0 else PRIOR_S
        return beyond_s + float(self._rng.exponential(typical_s))

    def draw_luck(self, row: int) -> None:
        """Whether the job's attempts fail or straggle."""
        attempts = self._faults.max_attempts
        if self._faults.job_failure_probability > 0.0:
            self.failures[row] = self._rng.random((attempts, 2))
        if self._faults.straggler_probability > 0.0:
            self.stragglers[row] = self._rng.random((attempts, 1))

    def condition_failure(self, attempt: Attempt) -> None:
        """A running attempt has not failed yet: if it fails, it is later, and less likely the further it is."""
        probability = self._faults.job_failure_probability
        if probability == 0.0:
            return
        row, state = attempt.row, self._state
        left_s = self._jobs.run_of[row] - state.done_s(row)
        over = min(max(attempt.worked_s(self._from_s) / left_s, 0.0), 1.0)
        luck = self.failures[row][min(state.failures_of(row), self._faults.max_attempts - 1)]
        likely = probability * (1.0 - over) / (1.0 - probability * over) if over < 1.0 else 0.0
        luck[0] = luck[0] * probability / likely if likely > 0.0 else inf
        luck[1] = over + (1.0 - over) * luck[1]

    def draw_block(self) -> None:
        """Draw the next jobs: some recent ones that came one after another, from a random one of them on."""
        recent = self._recent
        first = int(self._rng.integers(len(recent)))
        for i in range(first, first + BLOCK_JOBS):
            if self._next >= self._jobs.n:
                return
            source, gap_s, shape = recent[i % len(recent)]
            self._last_s = max(self._last_s + gap_s, self._from_s)
            run_s = self._run_s.get(source)
            if run_s is None:
                run_s = self.run_time_s(shape.tenant, shape.size, 0.0)
            run_s = min(run_s * self._factor, shape.limit_s) if isfinite(shape.limit_s) else run_s * self._factor
            if self._state.config.knowledge == "true":
                shape = shape._replace(estimate_s=min(run_s, LONGEST_S))
            self._jobs.add(self._next, self._last_s, run_s, shape)
            self.draw_luck(self._next)
            self._next += 1
