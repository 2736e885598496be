"""A fleet of LLM replicas replaying a request trace, asking at each arrival which replica takes the request.

    point = simulator.advance()          # run until the next decision, or None at the end
    while point is not None:
        simulator.apply(choose(point))
        point = simulator.advance()
    results = simulator.results()

Order of simultaneous events: outages (down, then up, each in the order of the replicas), then deliveries of requests
whose decision took time, in the order of the decisions, then arrivals in the order of the trace, then step boundaries
in the order of the replicas. So a request that arrives exactly on a boundary can join the step that starts there.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simpy import Event

from ...traces import HandrailError, RequestTrace
from ..common.clock import Clock
from .config import FleetConfig, Outage
from .event_order import ARRIVAL, DELIVERY, OUTAGE
from .output_estimator import OutputEstimator
from .prefix_index import PrefixIndex
from .replica import Replica
from .request import Request
from .results import FINISHED, REJECTED, ROW_WIDTH, UNFINISHED, ServingResults
from .router_view import RouterView
from .v0 import ReplicaV0

_FEED = 4096  # trace rows turned into Python numbers at a time


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
        self._prefixes = trace.prefix_blocks is not None and any(r.prefix_caching for r in self.replicas)
        self.up = np.ones(len(self.replicas), dtype=bool)
        self.n_up = len(self.replicas)
        self.view: RouterView | None = None
        self.prefix_index: PrefixIndex | None = None
        self.estimator = OutputEstimator(config.output_prior_tokens, oracle=config.output_estimate == "oracle")
        # Arrivals
        self._n = len(trace)
        self._next = 0
        self._feed_start = 0
        self._feed_end = 0
        self._feed_arrival: list[float] = []
        self._feed_prompt: list[int] = []
        self._feed_output: list[int] = []
        self._feed_label: list[int] | None = None
        self._labels = _labels(trace)
        self._pending: deque[Request] = deque()  # wait for the router's choice
        self._held: deque[Request] = deque()  # every replica is down
        self._at_decision: Request | None = None
        self.decisions = 0
        self._outcomes: list[Outcome] = []
        # Finished rows
        self._rows = array("d")
        self._extra_ranges = array("d")
        self._extra_gaps = array("d")
        # Counters, kept in the event handlers
        self.arrived = 0
        self.finished_count = 0
        self.rejected = 0
        self.in_system = 0
        self.without_token = 0
        self._area_s = 0.0  # request seconds in the system
        self._area_ttft_s = 0.0  # of those, before the first token
        self._area_at_s = 0.0
        self._measured_left = self._count_measured()
        outages = _merged(config.outages)
        for time_s, replica in sorted((o.down_s, o.replica) for o in outages):
            self.clock.at(time_s, _Bound(self._go_down, replica), OUTAGE)
        for time_s, replica in sorted((o.up_s, o.replica) for o in outages):
            self.clock.at(time_s, _Bound(self._come_up, replica), OUTAGE)
        if self._n:
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
        """The columns, one row a request of the trace; see `ServingResults`."""
        return ServingResults(
            trace=self.trace,
            rows=np.frombuffer(self._rows, dtype=np.float64).reshape(-1, ROW_WIDTH),
            in_flight=self._in_flight_rows(),
            records=[r.records_until(self.clock.now) for r in self.replicas],
            extra_ranges=np.frombuffer(self._extra_ranges, dtype=np.float64).reshape(-1, 4),
            extra_gaps=np.frombuffer(self._extra_gaps, dtype=np.float64).reshape(-1, 3),
            measured_s=self.measured_s,
            end_s=self.clock.now,
            area_s=self._areas()[0],
        )

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

    def _tick(self, now_s: float) -> None:
        span_s = now_s - self._area_at_s
        self._area_s += self.in_system * span_s
        self._area_ttft_s += self.without_token * span_s
        self._area_at_s = now_s

    # Arrivals

    def _count_measured(self) -> int:
        if self.measured_s is None:
            return self._n
        start, end = np.searchsorted(self.trace.arrival_s, self.measured_s, side="left")
        return int(end - start)

    def _schedule_arrival(self) -> None:
        if self._next == self._feed_end:
            start, end = self._next, min(self._next + _FEED, self._n)
            self._feed_start, self._feed_end = start, end
            self._feed_arrival = self.trace.arrival_s[start:end].tolist()
            self._feed_prompt = self.trace.prompt_tokens[start:end].tolist()
            self._feed_output = self.trace.output_tokens[start:end].tolist()
            self._feed_label = None if self._labels is None else self._labels[start:end].tolist()
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
        if self._next < self._n:
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
        assert self.trace.prefix_blocks is not None
        offsets, ids = self.trace.prefix_blocks
        per_chunk = self.trace.prefix_block_tokens // size
        keys = []
        left = request.prompt // size
        for key in ids[offsets[request.row] : offsets[request.row + 1]].tolist():
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
        self._rows.extend(
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
            self._extra_ranges.extend((request.row, replica.index, request.first_record, end_record))

    def extra_gap(self, request: Request, gap_s: float) -> None:
        """See `replica.Sink`."""
        self._extra_gaps.extend((request.row, gap_s, request.measured))

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
        self._rows.extend(
            (request.row, -1.0, -1.0, -1.0, request.generated, request.preemptions, request.replica, REJECTED, 0, 0)
        )
        if self.view is not None:
            self.view.ended(request, request.replica)
            infinite = float("inf")
            self._outcomes.append(Outcome(request.row, request.decision, request.replica, infinite, infinite, infinite))

    def _in_flight_rows(self) -> list[tuple[float, ...]]:
        waiting = [*self._pending, *self._held]
        if self._at_decision is not None:
            waiting.append(self._at_decision)
        now_s = self.clock.now
        running = [(request, replica) for replica in self.replicas for request in replica.running]
        rows = [_unfinished_row(r, *replica.progress(r, now_s)) for r, replica in running]
        waiting += [request for replica in self.replicas for request in replica.waiting]
        return rows + [_unfinished_row(r, r.generated, 0, 0) for r in waiting]

    # Outages

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


def _labels(trace: RequestTrace) -> NDArray[np.int64] | None:
    """The class of each request that its output length is estimated by: tenant and model."""
    if trace.tenant is None and trace.model is None:
        return None
    tenant = trace.tenant if trace.tenant is not None else np.zeros(len(trace), dtype=np.int64)
    model = trace.model if trace.model is not None else np.zeros(len(trace), dtype=np.int64)
    return tenant * (int(model.max(initial=0)) + 1) + model
