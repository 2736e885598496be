"""A fleet of LLM replicas replaying a request trace, asking at each arrival which replica takes the request.

    point = simulator.advance()          # run until the next decision, or None at the end
    while point is not None:
        simulator.apply(choose(point))
        point = simulator.advance()
    results = simulator.results()

Order of simultaneous events: faults (down, then up, then slowdowns, then KV cuts, each in the order of the replicas),
then deliveries of requests whose decision took time, in the order of the decisions, then arrivals in the order of the
trace, then step boundaries in the order of the replicas. So a request that arrives exactly on a boundary can join the
step that starts there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from math import inf, prod
from types import MethodType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from simpy import Event

from ...traces import HandrailError, RequestTrace
from ..common.clock import Clock
from .arrivals import Arrivals, TraceArrivals
from .config import FleetConfig, Outage
from .event_order import ARRIVAL, BOUNDARY, DELIVERY, OUTAGE
from .hidden import HiddenModel
from .ledger import Ledger
from .output_estimator import OutputEstimator
from .prefix_index import PrefixIndex
from .replica import Replica
from .request import Request, RequestForks
from .results import FINISHED, REJECTED, ROW_WIDTH, UNFINISHED, ServingResults
from .router_view import RouterView
from .v0 import ReplicaV0

TTFT_WEIGHT, E2E_WEIGHT = 1.0, 0.1
"""What a request's second before its first token and a second in the system cost, in `charged_s`."""


class Outcome(NamedTuple):
    """What the router sees of a request that has ended: its decision, where it ran, and how long it took [s].

    ``tpot_s`` is the mean time between its tokens, 0 for a single token. A rejected request has infinite times.
    """

    request: int
    decision: int
    replica: int
    ttft_s: float
    tpot_s: float
    e2e_s: float


@dataclass(slots=True)
class DecisionPoint:
    """A request waits for the router's choice.

    Attributes:
        request: Row of the trace.
        number: How many decisions came before.
        now_s: Simulated time [s].
        prompt_tokens: The request's prompt.
        action_mask: Which replicas are up, shape (R,), bool.
        outcomes: Requests that ended since the last decision, in the order in which they ended.
    """

    request: int
    number: int
    now_s: float
    prompt_tokens: int
    action_mask: NDArray[np.bool_]
    outcomes: list[Outcome]

    @property
    def item(self) -> int:
        """The row that is decided on, under the name that it has in every domain."""
        return self.request


class ServingSimulator:
    """The fleet. Deterministic: the same config and trace and the same actions give the same results.

    Args:
        config: The fleet.
        trace: Requests, every one with at least one output token.
        seed: Kept for the simulators' common form; nothing in this domain is drawn at random.
        measured_s: Only requests that arrive in [start, end) count; the run ends when all of these have ended. Default:
            all of them.
        stepwise: Visit every step boundary and decide every step in full: the oracle for the skipping.

    Raises:
        HandrailError: The trace holds failed requests, or its prefix blocks do not fit the KV blocks.
    """

    def __init__(
        self,
        config: FleetConfig,
        trace: RequestTrace,
        seed: int = 0,
        *,
        measured_s: tuple[float, float] | None = None,
        stepwise: bool = False,
    ) -> None:
        if len(trace) and int(trace.output_tokens.min()) < 1:
            row = int(np.argmin(trace.output_tokens))
            raise HandrailError(
                f"trace {trace.name!r}: request {row} has no output tokens; read the trace with failures dropped"
            )
        self.config = config
        self.trace = trace
        self.seed = seed
        self.measured_s = measured_s
        self.clock = Clock()
        self.replicas: list[Replica] = []
        for index, replica_config in enumerate(config.resolved_replicas):
            kind = ReplicaV0 if replica_config.preset == "vllm-v0" else Replica
            self.replicas.append(kind(index, replica_config, self.clock, self, stepwise))
            by_content = replica_config.prefix_caching and trace.prefix_blocks is not None
            if by_content and trace.prefix_block_tokens % replica_config.block_size:
                raise HandrailError(
                    f"trace {trace.name!r}: prefix blocks of {trace.prefix_block_tokens} tokens are no multiple of "
                    f"the KV block size {replica_config.block_size} of replica {index}; set block_size to divide it"
                )
        self._prefix_block_tokens = trace.prefix_block_tokens
        self._prefixes = trace.prefix_blocks is not None and any(r.prefix_caching for r in self.replicas)
        self.up = np.ones(len(self.replicas), dtype=bool)
        self.n_up = len(self.replicas)
        self.view: RouterView | None = None
        self.prefix_index: PrefixIndex | None = None
        self.estimator = OutputEstimator(config.output_prior_tokens, oracle=config.output_estimate == "oracle")
        # Arrivals
        self.arrivals: Arrivals = TraceArrivals(trace)
        self._next = 0
        self._feed_start = 0
        self._feed_end = 0
        self._feed_arrival: list[float] = []
        self._feed_prompt: list[int] = []
        self._feed_output: list[int] = []
        self._feed_label: list[int] | None = None
        self._pending: deque[Request] = deque()  # wait for the router's choice
        self._held: deque[Request] = deque()  # every replica is down
        self._at_decision: Request | None = None
        self.decisions = 0
        self._outcomes: list[Outcome] = []
        # Finished rows
        self._rows = Ledger()
        self._extra_ranges = Ledger()
        self._extra_gaps = Ledger()
        # Counters, kept in the event handlers
        self.arrived = 0
        self.finished_count = 0
        self.rejected = 0
        self.in_system = 0
        self.without_token = 0
        self._area_s = 0.0  # request seconds in the system
        self._area_ttft_s = 0.0  # of those, before the first token
        self._area_at_s = 0.0
        self._measured_left: float = self._count_measured()  # without end once the future is drawn
        outages = _merged(config.outages)
        self._schedule_faults(self._go_down, [(o.down_s, o.replica) for o in outages])
        self._schedule_faults(self._come_up, [(o.up_s, o.replica) for o in outages])
        for handler, windows in ((self._change_pace, config.slowdowns), (self._change_cut, config.kv_cuts)):
            times = [(time_s, window.replica) for window in windows for time_s in (window.start_s, window.end_s)]
            self._schedule_faults(handler, times)
        self._schedule_arrival()

    # The loop

    @property
    def now_s(self) -> float:
        """Simulated time [s]."""
        return self.clock.now

    @property
    def done(self) -> bool:
        """Whether every measured request has ended."""
        return self._measured_left == 0

    @property
    def unread_outcomes(self) -> tuple[Outcome, ...]:
        """What ended since the last decision: no later one has reported it yet."""
        return tuple(self._outcomes)

    def advance(self) -> DecisionPoint | None:
        """Run until a request needs a choice; ``None`` once every measured request has ended.

        Raises:
            HandrailError: The last decision has not been applied.
        """
        if self._at_decision is not None:
            raise HandrailError("advance() was called before apply() of the last decision")
        step = self.clock.step
        pending = self._pending
        while not pending:
            if self._measured_left == 0:
                return None
            step()
        request = pending.popleft()
        self._at_decision = request
        outcomes, self._outcomes = self._outcomes, []
        return DecisionPoint(request.row, self.decisions, self.clock.now, request.prompt, self.up, outcomes)

    def advance_until(self, until_s: float) -> DecisionPoint | None:
        """As `advance`, but stop at simulated time ``until_s`` if no request needs a choice by then.

        What happens at ``until_s`` itself still happens. After ``None``, `now_s` is ``until_s``, or the run is over.

        Raises:
            HandrailError: The last decision has not been applied, or ``until_s`` has gone by.
        """
        if self._at_decision is not None:
            raise HandrailError("advance_until() was called before apply() of the last decision")
        clock = self.clock
        if not until_s >= clock.now:
            raise HandrailError(f"advance_until({until_s}): it is {clock.now} s already; give a later time")
        while not self._pending and self._measured_left:
            if clock.peek() > until_s:
                clock.pass_until(until_s)
                return None
            clock.step()
        return self.advance()

    @property
    def request_at_decision(self) -> Request:
        """The request that waits for a choice; an observer reads of it what a router may know.

        Raises:
            HandrailError: No request waits for a choice.
        """
        if self._at_decision is None:
            raise HandrailError("there is no decision at hand: call advance() first")
        return self._at_decision

    def apply(self, action: int, latency_s: float = 0.0) -> None:
        """Send the request at hand to replica ``action``; it gets there after ``latency_s`` (the decision's own time).

        Raises:
            HandrailError: There is no such replica, it is down, or no request waits for a choice.
        """
        request = self._at_decision
        if request is None:
            raise HandrailError("apply() was called without a decision at hand")
        if not 0 <= action < len(self.replicas):
            raise HandrailError(f"action {action} is no replica; there are {len(self.replicas)}")
        if not self.up[action]:
            raise HandrailError(f"action {action}: that replica is down; see the decision point's action_mask")
        self._at_decision = None
        request.replica = action
        request.decision = self.decisions
        self.decisions += 1
        now_s = self.clock.now
        if self.view is not None:
            self.view.sent(request, action, now_s + latency_s)
            if self.prefix_index is not None and request.chunk_keys is not None:
                self.prefix_index.sent(request.chunk_keys, action)
        if latency_s > 0.0:
            self.clock.at(now_s + latency_s, _Bound(self._deliver, request), DELIVERY)
        else:
            self._deliver(request)

    def results(self) -> ServingResults:
        """The columns, one row a request of the trace; see `ServingResults`.

        Raises:
            HandrailError: The future was drawn, and its requests are in no trace.
        """
        if self._measured_left == inf:
            raise HandrailError("results() of a fork whose future was drawn: its requests are in no trace")
        return ServingResults(
            trace=self.trace,
            rows=self._rows.rows(ROW_WIDTH),
            in_flight=self._in_flight_rows(),
            records=[r.records_until(self.clock.now) for r in self.replicas],
            extra_ranges=self._extra_ranges.rows(4),
            extra_gaps=self._extra_gaps.rows(3),
            measured_s=self.measured_s,
            end_s=self.clock.now,
            area_s=self._areas()[0],
        )

    # Forks

    def fork(self) -> Self:
        """An independent copy as it stands, with the decision at hand open if there is one.

        The same actions from now on give the same results in both, bit for bit. Config, trace and all that has ended
        are shared; what is in flight is copied. An observer is forked by its own `RouterObserver.fork`.
        """
        twin = copy(self)
        forks = RequestForks()
        twin.clock = Clock(self.clock.now)
        twin.replicas = [replica.fork(twin.clock, twin, forks) for replica in self.replicas]
        twin.estimator = self.estimator.fork()
        if self.view is not None:
            twin.view = self.view.fork(twin.estimator)
        if self.prefix_index is not None:
            twin.prefix_index = self.prefix_index.fork()
        twin._pending = deque([forks[request] for request in self._pending])
        twin._held = deque([forks[request] for request in self._held])
        twin._at_decision = None if self._at_decision is None else forks[self._at_decision]
        twin._outcomes = self._outcomes.copy()
        twin._rows = self._rows.fork()
        twin._extra_ranges = self._extra_ranges.fork()
        twin._extra_gaps = self._extra_gaps.fork()
        for time_s, priority, event in self.clock.upcoming():
            if priority >= BOUNDARY:
                index = priority - BOUNDARY
                if self.replicas[index].woken_by(event):
                    twin.replicas[index].wake_at(time_s)
            elif priority == ARRIVAL:
                twin.clock.at(time_s, twin._on_arrival, ARRIVAL)
            else:
                twin.clock.at(time_s, event.callbacks[0].fork(twin, forks), priority)
        return twin

    def hidden_model(self) -> HiddenModel:
        """A model of what a router cannot know of this run; it learns from the decisions that it is told of.

        It needs an observer attached, without which a simulator keeps no outcomes.
        """
        return HiddenModel(self)

    def in_flight(self) -> list[tuple[Request, int, float]]:
        """Every request in the system: (request, fewest, most output tokens that fit what has been done with it)."""
        now_s = self.clock.now
        loose = [*self._pending, *self._held]
        if self._at_decision is not None:
            loose.append(self._at_decision)
        for _, priority, event in self.clock.upcoming():
            if priority == DELIVERY:
                loose.append(event.callbacks[0].argument)  # type: ignore[index]
        found: list[tuple[Request, int, float]] = [(r, r.generated + 1, inf) for r in loose]
        for replica in self.replicas:
            for request in (*replica.running, *replica.waiting):
                found.append((request, replica.least_output(request, now_s), replica.longest_output(request)))
        return found

    def forget(self, arrivals: Arrivals, up_s: dict[int, float], latency_factor: float) -> None:
        """Take the truth out of a fork whose `in_flight` requests have new output lengths (see `hidden`).

        Args:
            arrivals: What comes from now on, in place of the trace.
            up_s: When each replica that is down comes up [s]; no other faults come.
            latency_factor: Every step that starts from now on takes this many times as long.
        """
        now_s = self.clock.now
        self.trace = self.trace.head(0)
        self.config = self.config.model_copy(update={"outages": (), "slowdowns": (), "kv_cuts": ()})
        self.measured_s = None
        self._measured_left = inf
        self.arrivals = arrivals
        self._feed_start = self._feed_end = self._next
        self._feed_arrival, self._feed_prompt, self._feed_output, self._feed_label = [now_s], [], [], None
        for replica in self.replicas:
            replica.replan(now_s)
            replica.set_pace(replica.pace * latency_factor, now_s)
        awake = [replica.woken_by for replica in self.replicas]
        self.clock.keep(
            lambda priority, event: priority == DELIVERY or (priority > ARRIVAL and awake[priority - BOUNDARY](event))
        )
        for index, time_s in up_s.items():
            self.clock.at(time_s, _Bound(self._come_up, index), OUTAGE)
        self._schedule_arrival()

    # Costs

    def _areas(self) -> tuple[float, float]:
        """Request seconds so far, in the system and before the first token."""
        span_s = self.clock.now - self._area_at_s
        return self._area_s + self.in_system * span_s, self._area_ttft_s + self.without_token * span_s

    def cost_s(self) -> tuple[float, float]:
        """Request seconds spent so far: (in the system, of these before the first token).

        Their ends are the sums of E2E and of TTFT over all requests, if all are served.
        """
        return self._areas()

    def charged_s(self) -> float:
        """What the run has cost by now, as the environment's default weights charge it.

        Request seconds before the first token plus a tenth of the request seconds in the system.
        """
        in_system_s, before_token_s = self._areas()
        return TTFT_WEIGHT * before_token_s + E2E_WEIGHT * in_system_s

    def _tick(self, now_s: float) -> None:
        span_s = now_s - self._area_at_s
        self._area_s += self.in_system * span_s
        self._area_ttft_s += self.without_token * span_s
        self._area_at_s = now_s

    # Arrivals

    def _count_measured(self) -> int:
        if self.measured_s is None:
            return len(self.trace)
        start, end = np.searchsorted(self.trace.arrival_s, self.measured_s, side="left")
        return int(end - start)

    def _schedule_arrival(self) -> None:
        if self._next == self._feed_end:
            block = self.arrivals.block(self._next, self._feed_arrival[-1] if self._feed_arrival else 0.0)
            if block is None:
                return
            self._feed_start, self._feed_end = self._next, self._next + len(block.arrival_s)
            self._feed_arrival, self._feed_prompt, self._feed_output, self._feed_label = block
        self.clock.at(self._feed_arrival[self._next - self._feed_start], self._on_arrival, ARRIVAL)

    def _on_arrival(self, event: Event) -> None:
        row = self._next
        i = row - self._feed_start
        arrival_s = self._feed_arrival[i]
        window = self.measured_s
        request = Request(
            row,
            arrival_s,
            self._feed_prompt[i],
            self._feed_output[i],
            window is None or window[0] <= arrival_s < window[1],
        )
        if self._feed_label is not None:
            request.label = self._feed_label[i]
        self._next = row + 1
        self._schedule_arrival()
        self.arrived += 1
        self._tick(arrival_s)
        self.in_system += 1
        self.without_token += 1
        self._offer(request)

    def _offer(self, request: Request) -> None:
        if self.n_up:
            self._pending.append(request)
        else:
            self._held.append(request)

    def _add_keys(self, request: Request, size: int) -> None:
        """Name the prompt's full KV blocks of ``size`` tokens by the trace's prefix blocks."""
        per_chunk = self._prefix_block_tokens // size
        keys = []
        left = request.prompt // size
        for key in self.arrivals.prefix_ids(request.row):
            full = per_chunk if left >= per_chunk else left
            if full == 0:
                break
            keys.append((key, full))
            left -= full
        request.keys = keys
        request.own_start = sum(full for _, full in keys)

    def _deliver(self, request: Request) -> None:
        replica = self.replicas[request.replica]
        if not replica.up:  # it went down while the request was on its way
            if self.view is not None:
                self.view.displaced(request, request.replica)
            self._offer(request)
            return
        if not replica.fits(request):
            self._reject(request)
            return
        if self._prefixes and replica.prefix_caching:
            self._add_keys(request, replica.block_size)
            assert request.keys is not None
            known = request.prompt + request.generated
            found = replica.kv.find(request.keys, (known - 1) // replica.block_size)
            request.pending = known - sum(used for _, used in found) * replica.block_size
        else:
            request.keys = None
        replica.enqueue(request, self.clock.now)

    # What replicas tell

    def token_after_prefill(self, request: Request, now_s: float) -> None:
        """See `replica.Sink`."""
        if request.first_token_s < 0.0:
            request.first_token_s = now_s
            self._tick(now_s)
            self.without_token -= 1
            if self.view is not None:
                self.view.first_token(request)
        else:
            self.extra_gap(request, now_s - request.last_token_s)

    def finished(self, request: Request, replica: Replica, now_s: float) -> None:
        """See `replica.Sink`."""
        self._tick(now_s)
        self.in_system -= 1
        self.finished_count += 1
        end_record = replica.record_count
        first = request.first_record
        self._rows.tail.extend(
            (
                request.row,
                request.scheduled_s,
                request.first_token_s,
                now_s,
                request.output,
                request.preemptions,
                replica.index,
                FINISHED,
                first if first >= 0 else end_record,
                end_record,
            )
        )
        if request.measured:
            self._measured_left -= 1
        self.estimator.ended(request)
        if self.view is not None:
            self.view.ended(request, replica.index)
            first_s = request.first_token_s
            gaps = request.output - 1
            self._outcomes.append(
                Outcome(
                    request.row,
                    request.decision,
                    replica.index,
                    first_s - request.arrival_s,
                    (now_s - first_s) / gaps if gaps else 0.0,
                    now_s - request.arrival_s,
                )
            )

    def range_ended(self, request: Request, replica: Replica, end_record: int) -> None:
        """See `replica.Sink`."""
        if end_record > request.first_record:
            self._extra_ranges.tail.extend((request.row, replica.index, request.first_record, end_record))

    def extra_gap(self, request: Request, gap_s: float) -> None:
        """See `replica.Sink`."""
        self._extra_gaps.tail.extend((request.row, gap_s, request.measured))

    def report(self, replica: Replica, now_s: float) -> None:
        """See `replica.Sink`."""
        assert self.view is not None
        self.view.report(replica, now_s)

    def _reject(self, request: Request) -> None:
        self._tick(self.clock.now)
        self.in_system -= 1
        self.without_token -= request.first_token_s < 0.0
        self.rejected += 1
        if request.measured:
            self._measured_left -= 1
        self._rows.tail.extend(
            (request.row, -1.0, -1.0, -1.0, request.generated, request.preemptions, request.replica, REJECTED, 0, 0)
        )
        if self.view is not None:
            self.view.ended(request, request.replica)
            self._outcomes.append(Outcome(request.row, request.decision, request.replica, inf, inf, inf))

    def _in_flight_rows(self) -> list[tuple[float, ...]]:
        waiting = [*self._pending, *self._held]
        if self._at_decision is not None:
            waiting.append(self._at_decision)
        now_s = self.clock.now
        running = [(request, replica) for replica in self.replicas for request in replica.running]
        rows = [_unfinished_row(r, *replica.progress(r, now_s)) for r, replica in running]
        waiting += [request for replica in self.replicas for request in replica.waiting]
        return rows + [_unfinished_row(r, r.generated, 0, 0) for r in waiting]

    # Faults

    def _schedule_faults(self, handler: Callable[[int], None], times: Iterable[tuple[float, int]]) -> None:
        for time_s, replica in sorted(times):
            self.clock.at(time_s, _Bound(handler, replica), OUTAGE)

    def _change_pace(self, index: int) -> None:
        now_s = self.clock.now
        mine = [s for s in self.config.slowdowns if s.replica == index and s.start_s <= now_s < s.end_s]
        self.replicas[index].set_pace(prod((s.factor for s in mine), start=1.0), now_s)

    def _change_cut(self, index: int) -> None:
        now_s, replica = self.clock.now, self.replicas[index]
        mine = [c.share for c in self.config.kv_cuts if c.replica == index and c.start_s <= now_s < c.end_s]
        replica.set_cut(replica.total_blocks - int(min(mine, default=1.0) * replica.total_blocks), now_s)

    def _go_down(self, index: int) -> None:
        self.up = self.up.copy()
        self.up[index] = False
        self.n_up -= 1
        if self.prefix_index is not None:
            self.prefix_index.lost(index)
        for request in self.replicas[index].go_down(self.clock.now):
            if self.view is not None:
                self.view.displaced(request, index)
            self._offer(request)
        if not self.n_up:
            self._held.extend(self._pending)
            self._pending.clear()

    def _come_up(self, index: int) -> None:
        self.up = self.up.copy()
        self.up[index] = True
        self.n_up += 1
        self.replicas[index].come_up(self.clock.now)
        self._pending.extend(self._held)
        self._held.clear()


class _Bound:
    """A callback with its argument, as a plain object, so that a running simulator can be copied."""

    __slots__ = ("argument", "function")

    def __init__(self, function: Callable[[Any], None], argument: object) -> None:
        self.function = function
        self.argument = argument

    def __call__(self, event: Event) -> None:
        self.function(self.argument)

    def fork(self, simulator: ServingSimulator, forks: RequestForks) -> _Bound:
        """The same call in a forked simulator."""
        argument = forks[self.argument] if isinstance(self.argument, Request) else self.argument
        return _Bound(MethodType(self.function.__func__, simulator), argument)


def _unfinished_row(request: Request, generated: int, start: int, stop: int) -> tuple[float, ...]:
    times = (request.scheduled_s, request.first_token_s, -1.0)
    return (request.row, *times, generated, request.preemptions, request.replica, UNFINISHED, start, stop)


def _merged(outages: Sequence[Outage]) -> list[Outage]:
    """The outages with those of one replica that touch made one, so that it does not come up in between."""
    merged: list[Outage] = []
    for outage in sorted(outages, key=lambda o: (o.replica, o.down_s)):
        if merged and merged[-1].replica == outage.replica and merged[-1].up_s == outage.down_s:
            outage = Outage(replica=outage.replica, down_s=merged.pop().down_s, up_s=outage.up_s)
        merged.append(outage)
    return merged
