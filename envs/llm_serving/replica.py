"""One replica: an engine with continuous batching at iteration level, after vLLM v1's scheduler.

Time only passes in steps. A run of decode steps of an unchanged batch is one *record*: with the batch's context growing
by one token a sequence and step, step j takes ``a + b (j - 1)`` seconds, so its boundary is ``anchor + S(j)`` with
``S(j) = a j + b j (j - 1) / 2``. The replica sleeps over all boundaries at which nothing can change and is woken early
when a request arrives; `stepwise` replicas visit every boundary and decide every step in full, as the oracle that the
skipping is tested against. Both evaluate the same expression, so their timestamps are equal bit for bit.

What can change a batch, and so ends a sleep: a completion (a heap of finishing steps), a knot of the latency model, KV
blocks running out (found from a histogram of the sequences' positions in their last block), and an arrival that might
be admitted. A waiting request that did not fit stays blocked until blocks or places are released, for until then both
only get fewer.

With asynchronous scheduling step m + 1 is decided when step m starts. Where that decision cannot differ from "the same
sequences again" it is made late, when step m ends.
"""

from __future__ import annotations

import math
from collections import deque
from copy import copy
from heapq import heapify, heappop
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from simpy import Event

from ..common.clock import Clock
from .config import ReplicaConfig
from .event_order import BOUNDARY
from .ledger import Ledger
from .request import Request, RequestForks
from .scheduler import Chunk, Scheduler

# Columns of a step record: start [s], first step's length [s], its growth a step [s], steps, measured sequences that
# got a token each step, sequences decoding, context tokens they read in the first step.
RECORD_WIDTH = 7


class Sink(Protocol):
    """What a replica tells its fleet."""

    def token_after_prefill(self, request: Request, now_s: float) -> None:
        """The first token, or the next one after a preemption, has been emitted."""
        ...

    def finished(self, request: Request, replica: Replica, now_s: float) -> None:
        """The last token has been emitted and the request's place and blocks are free."""
        ...

    def range_ended(self, request: Request, replica: Replica, end_record: int) -> None:
        """A preempted or displaced request has no gaps in the records from ``end_record`` on."""
        ...

    def extra_gap(self, request: Request, gap_s: float) -> None:
        """A token gap that is no step of a record."""
        ...

    def report(self, replica: Replica, now_s: float) -> None:
        """The replica's batch or queue has changed; called only if ``reporting``."""
        ...


class Replica(Scheduler):
    """The engine in time (preset ``vllm-v1``; `v0.ReplicaV0` has the other preset)."""

    reporting = False

    def __init__(self, index: int, config: ReplicaConfig, clock: Clock, sink: Sink, stepwise: bool) -> None:
        assert config.latency is not None
        self.index = index
        self.clock = clock
        self.sink = sink
        self.latency = config.latency
        self.is_async = bool(config.async_scheduling)
        self.overhead_s = config.step_overhead_s
        self._pad = config.pad_table()
        self._batch_s: dict[int, float] = {}  # by decoding sequences: their step without its context
        self._priority = BOUNDARY + index
        self._callback = self._on_boundary
        self.up = True
        self.pace = 1.0  # a step takes this many times what the latency model says
        self.records = Ledger()
        self.record_count = 0
        super().__init__(config, stepwise)

    def _reset(self) -> None:
        super()._reset()
        self.busy = False
        self.step = 0  # decode steps ended
        self.chunks: list[Chunk] = []  # prompt chunks of the step that runs
        # Asynchronous scheduling: the next step, where it has been decided already.
        self.decided = False
        self.next_chunks: list[Chunk] = []
        self.leavers: list[Request] = []
        self.in_flight_victims: list[Request] = []
        self._changed = False  # the decoding set changed since the record was opened
        # The open record.
        self.open = False
        self.anchor_s = 0.0
        self.a_s = 0.0
        self.b_s = 0.0
        self.j = 0  # steps of the record that have ended
        self.j_limit = 0  # steps of the record until the latency model's next knot
        self.record_m = 0
        self.record_n = 0
        self.record_kv = 0
        self._wake: Event | None = None
        self._wake_j = 0

    def fork(self, clock: Clock, sink: Sink, forks: RequestForks) -> Self:
        """A copy in a forked simulator, which has yet to bring its wake-up along (see `woken_by`)."""
        twin = copy(self)
        twin.clock = clock
        twin.sink = sink
        twin._callback = twin._on_boundary
        twin._wake = None
        twin.records = self.records.fork()
        twin.kv = self.kv.fork()
        twin.running = dict.fromkeys([forks[request] for request in self.running])
        twin.waiting = deque([forks[request] for request in self.waiting])
        twin.phases = self.phases.copy()
        twin.finishing = [(step, order, forks[request]) for step, order, request in self.finishing]
        twin.partial = None if self.partial is None else forks[self.partial]
        twin.chunks = [(forks[request], size, completes) for request, size, completes in self.chunks]
        twin.next_chunks = [(forks[request], size, completes) for request, size, completes in self.next_chunks]
        twin.leavers = [forks[request] for request in self.leavers]
        twin.in_flight_victims = [forks[request] for request in self.in_flight_victims]
        return twin

    def woken_by(self, event: Event) -> bool:
        """Whether this wake-up is the one that counts: later ones that were brought forward are passed over."""
        return event is self._wake

    def wake_at(self, time_s: float) -> None:
        """Bring along the wake-up of the replica that this one was copied from."""
        self._wake = self.clock.at(time_s, self._callback, self._priority)

    # Arrivals

    def enqueue(self, request: Request, now_s: float) -> None:
        """A request joins the waiting queue; it may join the batch at the first boundary at or after now."""
        waiting = self.waiting
        waiting.append(request)
        self.pending_tokens += request.pending
        if not self.busy:
            if self._wake is None:
                self._wake = self.clock.at(now_s, self._callback, self._priority)
        elif len(waiting) == 1 and len(self.running) < self.max_num_seqs:
            self.blocked = False
            self._wake_at_or_after(now_s)
        if self.reporting:
            self.sink.report(self, now_s)

    def _wake_at_or_after(self, now_s: float) -> None:
        """Bring the wake-up forward to the record's first boundary at or after ``now_s``."""
        if self._wake_j - self.j <= 1:
            return
        j = self._steps_before(now_s) + 1
        if j < self._wake_j:
            self._sleep_until(j)

    def _steps_before(self, now_s: float) -> int:
        """Steps of the open record whose boundary lies before ``now_s`` (at least those visited)."""
        a, b, anchor = self.a_s, self.b_s, self.anchor_s
        span = now_s - anchor
        p = a - 0.5 * b
        root = math.sqrt(p * p + 2.0 * b * span) if b else p
        estimate = 2.0 * span / (p + root) if p + root > 0.0 else 0.0
        low, high = self.j, self._wake_j
        j = int(estimate) if estimate < high else high
        if j < low:
            j = low
        # The estimate is good to rounding; the comparison with the boundaries themselves decides.
        while j > low and not anchor + (a * j + b * (j * (j - 1) * 0.5)) < now_s:
            j -= 1
        while j < high and anchor + (a * (j + 1) + b * ((j + 1) * j * 0.5)) < now_s:
            j += 1
        return j

    def _sleep_until(self, j: int) -> None:
        self._wake_j = j
        time_s = self.anchor_s + (self.a_s * j + self.b_s * (j * (j - 1) * 0.5))
        self._wake = self.clock.at(time_s, self._callback, self._priority)

    # Boundaries

    def _on_boundary(self, event: Event) -> None:
        if event is not self._wake:
            return  # a later wake-up that was brought forward, or an outage came between
        self._wake = None
        now_s = self.clock.now
        if self.busy:
            self.step += self._wake_j - self.j
            self.j = self._wake_j
            self._end_step(now_s)
        self._start_step(now_s)

    def _end_step(self, now_s: float) -> None:
        step = self.step
        chunks = self.chunks
        if self.decided:
            leavers = self.leavers
        else:
            if self.covered < step:
                self._cover_through(step)
            finishing = self.finishing
            leavers = self._pop_leavers(step) if finishing and finishing[0][0] <= step else []
        if chunks or leavers or self._changed:
            self._close_record()
        ended: list[Request] = leavers
        if chunks:
            ended = leavers.copy()
            for request, _, completes in chunks:
                if completes:
                    self._emit(request, now_s)
                    if not self.decided:
                        self._join(request, step)
                    if request.leaving:
                        ended.append(request)
            self.chunks = []
        if self.in_flight_victims:
            for request in self.in_flight_victims:
                request.last_token_s = now_s
                if request.first_record >= 0:
                    self.sink.range_ended(request, self, self.record_count)
                    request.first_record = -1
            self.in_flight_victims = []
        for request in ended:
            self._finish(request, now_s)

    def _emit(self, request: Request, now_s: float) -> None:
        """The step that computed the last known token of a request has ended: it emits a token."""
        self.sink.token_after_prefill(request, now_s)
        request.last_token_s = now_s
        if request.finish_step >= 0 or not self.decided:
            request.first_record = self.record_count

    def _finish(self, request: Request, now_s: float) -> None:
        del self.running[request]
        blocks = -(-(request.prompt + request.output - 1) // self.block_size)
        held = request.held
        if held:
            if request.preemptions:
                self.kv.forget(held, -1 - request.row)
            self.kv.release(held, blocks - self.kv.blocks_of(held))
        else:
            self.kv.release_anonymous(blocks)
        self.blocked = False
        self.sink.finished(request, self, now_s)

    def _start_step(self, now_s: float) -> None:
        step = self.step
        if not self.is_async:
            chunks = self._schedule(step + 1, now_s)
            if not chunks and not self.n and self.waiting:
                chunks = self._schedule(step + 1, now_s)
        elif self.decided:
            chunks = self.next_chunks
            self.next_chunks = []
            self.decided = False
        else:
            chunks = []
        if not chunks and not self.n:
            if self.is_async:
                chunks = self._schedule(step + 1, now_s)
            if not chunks and not self.n:
                self._idle(now_s)
                return
        self._begin(now_s, chunks, self.n, self.m)
        if self.is_async:
            self._decide_ahead(now_s)
        self._sleep()

    def _idle(self, now_s: float) -> None:
        self._close_record()
        self.busy = False
        if self.reporting:
            self.sink.report(self, now_s)

    def _begin(self, now_s: float, chunks: list[Chunk], n: int, m: int) -> None:
        """Start a step with ``n`` decoding sequences: go on with the open record if nothing changed, else open one."""
        self.chunks = chunks
        self.busy = True
        if self.open:
            if not chunks and not self._changed and self.j < self.j_limit:
                return
            self._close_record()
        kv_tokens = self.base_sum + n * (self.step + 1) if n else 0
        self.open = True
        self._changed = False
        self.anchor_s = now_s
        self.j = 0
        self.record_m = m
        self.record_n = n
        self.record_kv = kv_tokens
        if chunks:
            tokens, work = 0, 0.0
            for request, size, _ in chunks:
                tokens += size
                work += size * (request.computed - size + (size + 1) * 0.5)
            self.a_s = self.pace * (self.overhead_s + self.latency.step_s(tokens, work, n, kv_tokens))
            self.b_s = 0.0
            self.j_limit = 1
        else:
            batch_s = self._batch_s.get(n)
            if batch_s is None:
                batch_s = self._batch_s[n] = self.latency.batch_s(self._pad[n] if n < len(self._pad) else n)
            kv_s, slope, knot = self.latency.kv.at(kv_tokens)
            self.a_s = self.pace * (self.overhead_s + (batch_s + kv_s))
            self.b_s = self.pace * slope * n
            self.j_limit = 1 << 60 if knot == math.inf else math.ceil((knot - kv_tokens) / n)
        if self.reporting:
            self.sink.report(self, now_s)

    def _close_record(self) -> None:
        if self.open:
            self.open = False
            self.records.tail.extend(
                (self.anchor_s, self.a_s, self.b_s, self.j, self.record_m, self.record_n, self.record_kv)
            )
            self.record_count += 1

    # What has happened so far

    def records_until(self, now_s: float) -> NDArray[np.float64]:
        """All step records, shape (k, RECORD_WIDTH); of the open one the steps that ended before ``now_s``."""
        closed = self.records.rows(RECORD_WIDTH)
        if not self.open:
            return closed
        steps = self._steps_before(now_s)
        last = (self.anchor_s, self.a_s, self.b_s, steps, self.record_m, self.record_n, self.record_kv)
        return np.concatenate([closed, [last]])

    def progress(self, request: Request, now_s: float) -> tuple[int, int, int]:
        """Of a running request: tokens emitted before ``now_s``, and its present range of `records_until`'s records."""
        if request.first_record < 0:
            return request.generated, 0, 0
        ended = self._steps_before(now_s) - self.j if self.open else 0
        return request.generated_base + self.step + ended, request.first_record, self.record_count + self.open

    # How long to sleep

    def _sleep(self) -> None:
        if (
            self.chunks
            or self.decided
            or self._resizing
            or self.stepwise
            # After a preemption nothing was admitted: the head of waiting is tried again at the next boundary.
            or (self.waiting and not self.blocked and len(self.running) < self.max_num_seqs)
        ):
            self._sleep_until(self.j + 1)
            return
        self._sleep_until(self.j + self._quiet_steps())

    def _quiet_steps(self) -> int:
        """How many steps of the open record end before anything can change, if nothing arrives."""
        finishing = self.finishing
        while True:  # drop what was preempted since
            finish_step, order, request = finishing[0]
            if request.finish_step == finish_step and request.order == order:
                break
            heappop(finishing)
        k = finish_step - self.step
        if self.j_limit - self.j < k:
            k = self.j_limit - self.j
        # Blocks are taken for steps up to step + k, and with asynchronous scheduling for one more.
        ahead = self.step + k + 1 - self.covered
        if self.n * (ahead // self.block_size + 1) > self.kv.free:
            most = self._last_coverable_step() - self.is_async - self.step
            if most < k:
                k = most
        return k

    # Output lengths drawn anew

    def least_output(self, request: Request, now_s: float) -> int:
        """The fewest output tokens of a request here, going by its tokens so far and the steps decided so far."""
        if request.finish_step < 0:
            return request.generated + 1
        ended = self._steps_before(now_s) if self.open else self.j
        running = self.step + ended - self.j + 1
        # Where the step after it has been decided already, it has blocks for that one too.
        return request.generated_base + max(running, self.covered)

    def replan(self, now_s: float) -> None:
        """Output lengths have changed: go on from the present moment, whatever was planned before."""
        decoding = [r for r in self.running if r.finish_step >= 0 and not r.leaving]
        for request in decoding:
            request.finish_step = request.output - request.generated_base
        self.finishing = [(request.finish_step, request.order, request) for request in decoding]
        heapify(self.finishing)
        if not self.busy:
            return
        if (
            self.chunks
            or self.decided
            or self._changed
            or self._resizing
            or self.stepwise
            or (self.waiting and not self.blocked and len(self.running) < self.max_num_seqs)
        ):
            self._sleep_until(self._steps_before(now_s) + 1)
        else:
            self._sleep_until(self.j + self._quiet_steps())

    # Decisions

    def _decide_ahead(self, now_s: float) -> None:
        """Asynchronous scheduling: decide the step after the one that has just started, unless that can wait."""
        step = self.step + 1  # the step that has just started
        chunks = self.chunks
        if not (
            self.stepwise
            or self._resizing
            or self.partial is not None
            or (self.waiting and not self.blocked and len(self.running) < self.max_num_seqs)
        ):
            most = self.n + len(chunks)
            if self.kv.free >= most + most * ((step + 1 - self.covered) // self.block_size):
                return
            if not chunks and self._last_coverable_step() > step:
                return
        if self.covered < step:
            self._cover_through(step)
        finishing = self.finishing
        self.leavers = self._pop_leavers(step) if finishing and finishing[0][0] <= step else []
        joined = False
        for request, _, completes in chunks:
            if completes:
                self._join(request, step)
                joined = True
        preempted = self._preempted
        self.next_chunks = self._schedule(step + 1, now_s)
        changed = joined or bool(self.leavers) or preempted != self._preempted
        self._changed = self._changed or changed
        self.decided = changed or bool(self.next_chunks) or bool(chunks)

    def _victim_stopped(self, request: Request, decoding: bool, now_s: float) -> None:
        if decoding and self.is_async:
            self.in_flight_victims.append(request)  # the step that runs still emits its token
        elif decoding:
            self._close_record()
            self.sink.range_ended(request, self, self.record_count)
            request.first_record = -1
            request.last_token_s = now_s
        self._changed = True

    # Faults

    def set_pace(self, pace: float, now_s: float) -> None:
        """Steps that start from now on take ``pace`` times what the latency model says."""
        if pace == self.pace:
            return
        self.pace = pace
        if self.busy:
            self._changed = True
            self._wake_at_or_after(now_s)

    def set_cut(self, blocks: int, now_s: float) -> None:
        """A KV cut takes ``blocks`` away from now on, in all; the next step that is decided gives them up."""
        self.cut_blocks = blocks
        self._resizing = blocks != self._withheld
        if not self._resizing:
            return
        if self.busy:
            self._wake_at_or_after(now_s)
            return
        self._resize(self.step, now_s)
        if self.waiting and self._wake is None:
            self._wake = self.clock.at(now_s, self._callback, self._priority)

    def go_down(self, now_s: float) -> list[Request]:
        """Lose everything; return the displaced requests, running ones first, each in its queue's order.

        Tokens emitted so far are kept, those of the step that runs are lost.
        """
        last_token_s = now_s
        if self.open:
            ended = self._steps_before(now_s)
            self.step += ended - self.j
            self.j = ended
            last_token_s = self.anchor_s + (self.a_s * ended + self.b_s * (ended * (ended - 1) * 0.5))
            self._close_record()
        for request, _, completes in self.chunks:
            if completes and request.leaving and request.finish_step < 0:
                request.generated -= 1
        for request in self.in_flight_victims:
            request.generated -= 1
            self._displace(request, last_token_s)
        displaced = [*self.running, *self.waiting]
        for request in self.running:
            if request.finish_step >= 0:
                request.generated = request.generated_base + self.step
            self._displace(request, last_token_s)
        for request in displaced:
            request.finish_step = -1
            request.leaving = False
            request.held = None
            request.computed = 0
            request.pending = request.prompt + request.generated
        self._reset()
        self.up = False
        if self.reporting:
            self.sink.report(self, now_s)
        return displaced

    def _displace(self, request: Request, last_token_s: float) -> None:
        if request.first_record >= 0:
            self.sink.range_ended(request, self, self.record_count)
            request.first_record = -1
            request.last_token_s = last_token_s

    def come_up(self, now_s: float) -> None:
        """Take requests again, with an empty cache."""
        self.up = True
        if self.reporting:
            self.sink.report(self, now_s)
