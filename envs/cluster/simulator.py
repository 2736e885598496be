"""The cluster simulator: SimPy is its clock; jobs arrive, take machines, end; a policy is asked where it may choose.

Order of simultaneous events under the standard protocol: machines fail and come back, jobs end (in the order in which
they started), jobs arrive (in the order of the trace), decisions that took time come into effect; then one scheduling
pass. Under RLScheduler's protocol arrivals go before ends, and a pass follows each single event.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...traces import JobTrace
from ...traces.errors import HandrailError
from ..common.clock import Clock
from .backfill import PreemptivePass, make_pass
from .backfill.by_group import next_by_group
from .backfill.easy import is_overdue
from .backfill.reference import Commitment
from .config import ClusterConfig
from .cost import SHORT_JOB_S
from .faults import MachineLife
from .forking import fork_simulator
from .machines import make_pool
from .pool import ResourcePool
from .results import FAILED, FINISHED, KILLED, REJECTED, ClusterResults
from .running import ENDS_FAILED, ENDS_FINISHED, ENDS_KILLED, Attempt
from .state import ClusterState
from .window import Window

if TYPE_CHECKING:
    from .hidden import HiddenModel

Decide = Literal["none", "job", "group"]

MACHINE, FIRST, SECOND, EFFECT, ROUND = 0, 1, 2, 3, 4
"""Priorities of simultaneous events; which of ends and arrivals is FIRST depends on the protocol."""

FRAGMENTATION_SAMPLES = 500
"""Arrivals at which fragmentation is sampled, evenly spread over the trace."""

_serial = attrgetter("serial")


class Outcome(NamedTuple):
    """How an earlier decision turned out, known when the job that it started has ended.

    Attributes:
        decision: Number of the decision.
        item: Row of the job.
        wait_s: From its arrival to its start.
        jct_s: From its arrival to its end.
        bounded_slowdown: ``max(1, jct_s / max(run_s, 10))``.
    """

    decision: int
    item: int
    wait_s: float
    jct_s: float
    bounded_slowdown: float


class DecisionPoint(NamedTuple):
    """Where the simulator waits for an action.

    Attributes:
        now_s: Simulated time.
        item: Row of the head, the job that stands first.
        action_mask: Legal actions, shape (K + 1,) or (groups,), bool.
        outcomes: What became known since the last decision, in the order of the ends.
        decision: Number of the decision, from 0.
    """

    now_s: float
    item: int
    action_mask: NDArray[np.bool_]
    outcomes: tuple[Outcome, ...]
    decision: int


class ClusterSimulator:
    """Replays a trace of jobs on a cluster.

    Args:
        config: The cluster and its standing scheduler.
        trace: The jobs.
        seed: Seed of placements and faults.
        measured_s: Arrivals in [start, end) count in the metrics; all by default.
        decide: What is asked for: ``none`` (the standing scheduler rules and `advance` runs to the end), ``job`` (which
            of the first K jobs of the standing order starts next; K stands for none of them), or ``group`` (which group
            of machines takes the job that the standing scheduler starts next).
        decide_from_s: Before this time nothing is asked for: the standing scheduler rules.

    Attributes:
        repairs: How many outages of machines (or of interchangeable processors) have ended, and their sum in seconds.
        redrawn: Whether a model has drawn the hidden part anew (`hidden.HiddenModel.redraw`).

    Raises:
        HandrailError: Trace and config do not go together.
    """

    def __init__(
        self,
        config: ClusterConfig,
        trace: JobTrace,
        seed: int = 0,
        *,
        measured_s: tuple[float, float] | None = None,
        decide: Decide = "none",
        decide_from_s: float = 0.0,
    ) -> None:
        if len(trace) == 0:
            raise HandrailError(f"{trace.name}: the trace holds no job")
        if decide != "none" and config.discipline in ("srtf", "las", "gittins"):
            raise HandrailError(f"{config.discipline} preempts running jobs; a policy needs another standing order")
        if decide != "none" and not config.queueing:
            raise HandrailError("a cluster without a queue leaves a policy nothing to decide; set queueing=True")
        if config.faults.machine_mtbf_s is not None and not np.isfinite(trace.run_s).all():
            raise HandrailError(f"{trace.name}: with machines that fail at random, jobs that never end replay for ever")
        if decide == "group":
            _check_groups(config)
        self.config = config
        self.trace = trace
        self.decide = decide
        self._decide_from_s = decide_from_s
        self._measured_s = measured_s
        self._clock = Clock()
        placement_seed, fault_seed = np.random.SeedSequence(seed).spawn(2)
        self.pool: ResourcePool = make_pool(
            config, placement_seed, gpu_types=trace.gpu_type_names, by_group=decide == "group"
        )
        self._reference = config.protocol == "rlscheduler"
        self._arrival_priority, end_priority = (FIRST, SECOND) if self._reference else (SECOND, FIRST)
        self.state = ClusterState(config, trace, self._clock, self.pool, fault_seed, self._attempt_ends, end_priority)
        self._pass = make_pass(config, self.state)
        self._commitment = Commitment(config.backfill == "reference") if self._reference else None
        self.window = Window(self.state, config.window, self._commitment) if decide == "job" else None
        self._next_arrival = 0
        self._unsettled = len(trace)
        self._changed = False
        self._asked: Callable[[int], None] | None = None
        self._awaits_effect = False
        self._outcomes: list[Outcome] = []
        self._decision_of: dict[int, int] = {}
        self.decisions = 0
        self.redrawn = False
        self._round_at_s = -1.0
        self._sample_every = max(len(trace) // FRAGMENTATION_SAMPLES, 1)
        self._sampled = (array("d"), array("d"))
        self._machines_down: set[int] = set()
        self._withdrawn: tuple[tuple[float, int], ...] = ()  # since when, how many processors
        self._down_since: dict[int, float] = {}
        self.repairs: tuple[int, float] = (0, 0.0)
        self._slowed: dict[int, list[float]] = {}
        self._schedule_arrival()
        self._schedule_faults(fault_seed)

    @property
    def now_s(self) -> float:
        """Simulated time in seconds."""
        return self._clock.now

    @property
    def arrivals_left(self) -> int:
        """Jobs that have not arrived yet."""
        return self.state.jobs.n - self._next_arrival

    @property
    def unread_outcomes(self) -> tuple[Outcome, ...]:
        """What started since the last decision: no later one has reported it yet."""
        return tuple(self._outcomes)

    @property
    def arrived(self) -> int:
        """Jobs that have arrived: the first rows of the trace."""
        return self._next_arrival

    @property
    def down_share(self) -> float:
        """Share of the machines, or of interchangeable processors, that are down."""
        if self._withdrawn:
            return sum(processors for _, processors in self._withdrawn) / self.pool.size
        return len(self._machines_down) / self.pool.n_machines if self.pool.n_machines else 0.0

    def advance(self) -> DecisionPoint | None:
        """Run to the next decision; None at the end.

        Raises:
            HandrailError: The last decision was not answered.
        """
        if self._asked is not None:
            raise HandrailError("advance() needs apply() first: the last decision is open")
        clock = self._clock
        queue = clock._queue
        step = clock.step
        while True:
            if self._changed and (self._reference or not queue or queue[0][0] > clock.now) and not self._awaits_effect:
                self._changed = False
                point = self._schedule()
                if point is not None:
                    return point
            if self._unsettled == 0 or not queue:
                return None
            step()

    def advance_until(self, until_s: float) -> DecisionPoint | None:
        """Run to the next decision, but only up to ``until_s``: what happens at that very time is left for later.

        Returns:
            The decision; None where none comes before, and `now_s` is then ``until_s``, or where all jobs have ended
            before, and `now_s` is when they had. Going on with `advance` is as if this had not been called.

        Raises:
            HandrailError: The last decision was not answered.
        """
        if self._asked is not None:
            raise HandrailError("advance_until() needs apply() first: the last decision is open")
        clock = self._clock
        queue = clock._queue
        while clock.now < until_s:
            if self._changed and (self._reference or not queue or queue[0][0] > clock.now) and not self._awaits_effect:
                self._changed = False
                point = self._schedule()
                if point is not None:
                    return point
            if self._unsettled == 0 or not queue:
                return None
            if queue[0][0] >= until_s:
                clock._now = until_s
                return None
            clock.step()
        return None

    def fork(self) -> Self:
        """An independent simulator in the same state: the same actions from here on give the same results in both.

        Config, trace and what has ended are shared; copied is what waits, runs, or is down. An open decision is open in
        both.
        """
        return fork_simulator(self)

    def charged_s(self) -> float:
        """What the schedule has cost up to now: the sum of bounded slowdowns, as far as a scheduler may know it.

        A job in the system has cost ``wait / max(estimate, 10 s)`` so far; when it ends, that is made good to its
        bounded slowdown, ``max(1, jct / max(run, 10 s))``. Once all jobs have ended it is the sum over all that ran.
        """
        state = self.state
        rows, waited_s = state.waited_s()
        usual_s = np.maximum(np.nan_to_num(state.jobs.estimate_s[rows]), SHORT_JOB_S)
        return state.settled_slowdown + float((waited_s / usual_s).sum())

    def hidden_model(self) -> HiddenModel:
        """A fresh model of what is hidden, which has learned nothing yet."""
        from .hidden import HiddenModel

        return HiddenModel(self)

    def apply(self, action: int, latency_s: float = 0.0) -> None:
        """Answer the decision; it comes into effect ``latency_s`` simulated seconds later.

        Meanwhile nothing else starts. A choice that has become impossible by then is dropped, and asked for anew.

        Raises:
            HandrailError: There is no open decision, or the action is not legal.
        """
        answer = self._asked
        if answer is None:
            raise HandrailError("apply() needs advance() first: no decision is open")
        if not latency_s >= 0.0 or latency_s == inf:
            raise HandrailError(f"a decision latency is a number of seconds, not {latency_s}")
        answer(action)
        self._asked = None
        self.decisions += 1
        if latency_s > 0.0:
            self._awaits_effect = True
            self._clock.at(self.now_s + latency_s, self._take_effect, EFFECT)
        else:
            self._take_effect(None)

    def results(self) -> ClusterResults:
        """Result columns of what has happened so far."""
        if self.redrawn:
            raise HandrailError("a replay whose hidden part was drawn anew has no result columns; use charged_s()")
        return self.state.results(self._measured_s, self._sampled, self._next_arrival)

    # Events.

    def _schedule_arrival(self) -> None:
        jobs = self.state.jobs
        if self._next_arrival < jobs.n:
            self._clock.at(jobs.arrival_of[self._next_arrival], self._arrive, self._arrival_priority)

    def _arrive(self, event: object) -> None:
        row = self._next_arrival
        self._next_arrival += 1
        self._schedule_arrival()
        state = self.state
        state.jobs.reveal(row)
        if row % self._sample_every == 0:
            self._sampled[0].append(self._clock.now)
            self._sampled[1].append(self.pool.fragmentation())
        self._changed = True  # also by a job that is turned away: who waited for arrivals is asked again
        if not state.may_ever_run(row):
            self._refuse(row)
            return
        state.enqueue(row)

    def _refuse(self, row: int) -> None:
        self.state.refuse(row, REJECTED)
        self._unsettled -= 1

    def _turn_away(self, row: int) -> None:
        """A job does not fit and may not wait; one that ran before has failed."""
        self.state.dequeue(row)
        if self.state.first_start_s(row) is None:
            self._refuse(row)
        else:
            self._settle(row, FAILED)

    def _attempt_ends(self, attempt: Attempt) -> None:
        if not attempt.alive:
            return
        state = self.state
        row = attempt.row
        state.give_back(attempt)
        self._changed = True
        if attempt.ending == ENDS_FINISHED:
            state.waste(row, attempt.overhead_s)
            self._settle(row, FINISHED)
        elif attempt.ending == ENDS_KILLED:
            self._settle(row, KILLED)
        else:
            assert attempt.ending == ENDS_FAILED
            state.fall_back(attempt, lost_all_since_checkpoint=True)
            if state.count_failure(row) >= self.config.faults.max_attempts:
                self._settle(row, FAILED)
            else:
                state.enqueue(row)

    def _settle(self, row: int, status: int) -> None:
        jobs = self.state.jobs
        start_s = self.state.settle(row, status)
        self._unsettled -= 1
        decision = self._decision_of.pop(row, None)
        if decision is not None:
            arrival_s, now_s = jobs.arrival_of[row], self._clock.now
            jct_s = now_s - arrival_s
            slowdown = max(1.0, jct_s / max(jobs.run_of[row], SHORT_JOB_S))
            if status != FINISHED:
                slowdown = inf
            self._outcomes.append(Outcome(decision, row, start_s - arrival_s, jct_s, slowdown))

    def _schedule_faults(self, seed: np.random.SeedSequence) -> None:
        faults = self.config.faults
        self._claims: dict[int, int] = {}
        for outage in faults.outages:
            self.call_at(outage.start_s, "machine_event", outage.machine, True)
            self.call_at(outage.end_s, "machine_event", outage.machine, False)
        if faults.machine_mtbf_s is not None:
            for machine in range(self.pool.n_machines):
                life = MachineLife.of_machine(faults, machine, seed)
                self.call_at(life.time_s(0), "machine_event", machine, True, life, 1)
        for slowdown in faults.slowdowns:
            self.call_at(slowdown.start_s, "slow_machine", slowdown.machine, slowdown.factor, True)
            self.call_at(slowdown.end_s, "slow_machine", slowdown.machine, slowdown.factor, False)
        for outage in faults.processor_outages:
            self.call_at(outage.start_s, "withdraw_processors", outage.processors)
            self.call_at(outage.end_s, "restore_processors", (outage.start_s, outage.processors))

    def call_at(self, at_s: float, method: str, *arguments: Any) -> None:
        """Let something happen to machines at ``at_s``, before all else that happens then."""
        self._clock.at(at_s, Call(self, method, arguments), MACHINE)

    def machine_event(self, machine: int, down: bool, life: MachineLife | None = None, number: int = 0) -> None:
        """A machine fails or comes back; with a ``life`` its next event is after the stretch of that number."""
        if life is not None:
            after_s = life.time_s(number)
            self.call_at(self.now_s + after_s, "machine_event", machine, not down, life, number + 1)
        # Overlapping outages of one machine: it is up again when the last one has ended.
        claims = self._claims.get(machine, 0) + (1 if down else -1)
        self._claims[machine] = claims
        if down and claims == 1:
            self._fail_machine(machine)
        elif not down and claims == 0:
            self._machines_down.discard(machine)
            self._note_repair(self._down_since.pop(machine))
            self._count_down(machine, up=True)
        self._changed = True

    def _fail_machine(self, machine: int) -> None:
        self._machines_down.add(machine)
        self._down_since[machine] = self.now_s
        for attempt in self._on_machine(machine):
            self._stop(attempt)
        self._count_down(machine, up=False)

    def _on_machine(self, machine: int) -> list[Attempt]:
        """The attempts on a machine, in the order in which they started."""
        running, pool = self.state.running.by_row.values(), self.pool
        return sorted([a for a in running if machine in pool.machines_of(a.allocation)], key=_serial)

    def _stop(self, attempt: Attempt) -> None:
        """A job loses what it runs on, and goes back to the queue."""
        state = self.state
        state.give_back(attempt)
        state.fall_back(attempt, lost_all_since_checkpoint=True)
        state.enqueue(attempt.row)

    def withdraw_processors(self, processors: int) -> None:
        """Interchangeable processors go away."""
        pool, state = self.pool, self.state
        pool.withdraw(processors)  # type: ignore[attr-defined]
        self._withdrawn = (*self._withdrawn, (self.now_s, processors))
        if pool.free_size < 0.0:
            for attempt in sorted(state.running.by_row.values(), key=_serial, reverse=True):
                self._stop(attempt)
                if pool.free_size >= 0.0:
                    break
        self._count_processors_down()

    def restore_processors(self, entry: tuple[float, int]) -> None:
        """Processors that went away at some time come back."""
        at = self._withdrawn.index(entry)
        self._withdrawn = self._withdrawn[:at] + self._withdrawn[at + 1 :]
        self.pool.withdraw(-entry[1])  # type: ignore[attr-defined]
        self._note_repair(entry[0])
        self._count_processors_down()

    def _count_processors_down(self) -> None:
        self.state.down_size = float(sum(processors for _, processors in self._withdrawn))
        self.state.note_usage(self.now_s)
        self._changed = True

    def _note_repair(self, since_s: float) -> None:
        count, sum_s = self.repairs
        self.repairs = count + 1, sum_s + (self.now_s - since_s)

    def slow_machine(self, machine: int, factor: float, begins: bool) -> None:
        """A slowdown of a machine begins or ends; nobody is told, and nothing is scheduled for it."""
        factors = self._slowed.get(machine, []).copy()
        (factors.append if begins else factors.remove)(factor)
        self._slowed[machine] = factors
        slow = self.state.slow
        slow.pop(machine, None)
        if factors:
            slow[machine] = max(factors)
        for attempt in self._on_machine(machine):
            self.state.retime(attempt)

    def _count_down(self, machine: int, *, up: bool) -> None:
        before = self.pool.free_size
        (self.pool.set_up if up else self.pool.set_down)(machine)
        self.state.down_size = round(self.state.down_size + before - self.pool.free_size, 3)
        self.state.note_usage(self.now_s)

    # Scheduling.

    def _schedule(self) -> DecisionPoint | None:
        state = self.state
        state.promote()
        if self._clock.now >= self._decide_from_s:
            if self.decide == "job":
                return self._ask_for_job()
            if self.decide == "group":
                return self._ask_for_group()
        if self._commitment is not None:
            self._run_reference(self._commitment)
        else:
            self._pass(state)
            if isinstance(self._pass, PreemptivePass):
                self._wake_for_round(self._pass.next_round_s)
        if not self.config.queueing:
            for row in list(state.waiting):
                self._turn_away(row)
        return None

    def _run_reference(self, commitment: Commitment) -> None:
        state = self.state
        while commitment.settle(state):
            if not len(state.waiting):
                return
            commitment.commit(state.waiting.first(self._clock.now))

    def _wake_for_round(self, at_s: float) -> None:
        if len(self.state.waiting) and self._round_at_s < at_s:
            self._round_at_s = at_s
            self._clock.at(max(at_s, self.now_s), self._note_change, ROUND)

    def _note_change(self, event: object) -> None:
        self._changed = True

    def _ask_for_job(self) -> DecisionPoint | None:
        window, commitment = self.window, self._commitment
        assert window is not None
        if commitment is not None and not commitment.settle(self.state):
            return None
        may_wait = commitment is None and (len(self.state.running) > 0 or self.arrivals_left > 0 or self.down_share > 0)
        mask = window.look(may_wait=may_wait)
        if mask is None:
            return None
        self._asked = self._choose_job
        return self._point(int(window.rows[0]), mask)

    def _choose_job(self, action: int) -> None:
        window = self.window
        assert window is not None
        if not (0 <= action < len(window.mask) and window.mask[action]):
            raise HandrailError(f"action {action} is not legal at decision {self.decisions}")
        self._chosen = int(window.rows[action]) if action < len(window.rows) else None
        self._chosen_group: int | None = None

    def _ask_for_group(self) -> DecisionPoint | None:
        found = next_by_group(self.state, self.pool)  # type: ignore[arg-type]
        if found is None:
            return None
        self._chosen, self._group_mask = found
        self._asked = self._choose_group
        return self._point(*found)

    def _choose_group(self, action: int) -> None:
        if not (0 <= action < len(self._group_mask) and self._group_mask[action]):
            raise HandrailError(f"action {action} is not legal at decision {self.decisions}")
        self._chosen_group = action

    def _point(self, head: int, mask: NDArray[np.bool_]) -> DecisionPoint:
        outcomes = tuple(self._outcomes)
        self._outcomes.clear()
        return DecisionPoint(self._clock.now, head, mask, outcomes, self.decisions)

    def _take_effect(self, event: object) -> None:
        """The open decision comes into effect."""
        self._awaits_effect = False
        row = self._chosen
        if row is None:
            return  # nothing starts before something changes
        state = self.state
        self._changed = True
        if self._commitment is not None:
            self._commitment.commit(row)
            self._decision_of[row] = self.decisions - 1
            return
        demand = state.jobs.demands[row]
        if self._chosen_group is None:
            allocation = self.pool.place(demand)
        else:
            allocation = self.pool.place_in_group(demand, self._chosen_group)  # type: ignore[attr-defined]
        if allocation is None:
            return  # a machine failed while the decision was made
        state.start(row, allocation)
        self._decision_of[row] = self.decisions - 1

    def is_overdue(self, row: int) -> bool:
        """Whether the waiting job ``row`` is overdue."""
        return is_overdue(self.state, row)


def _check_groups(config: ClusterConfig) -> None:
    if not config.groups:
        raise HandrailError("choosing groups of machines needs a cluster with groups, not processors")
    if config.protocol != "standard" or config.backfill not in ("none", "easy"):
        raise HandrailError("choosing groups of machines goes with protocol standard and backfill none or easy")


class Call:
    """A callback that calls a method of its simulator; a plain object, so that a running simulator can be copied."""

    __slots__ = ("arguments", "method", "simulator")

    def __init__(self, simulator: ClusterSimulator, method: str, arguments: tuple[Any, ...]) -> None:
        self.simulator = simulator
        self.method = method
        self.arguments = arguments

    def fork(self, simulator: ClusterSimulator) -> Call:
        """The same call of another simulator."""
        return Call(simulator, self.method, self.arguments)

    def __call__(self, event: object) -> None:
        getattr(self.simulator, self.method)(*self.arguments)
