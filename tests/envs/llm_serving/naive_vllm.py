"""A naive simulator of one replica: the rules of the two presets written down step by step, with no thought of speed.

It shares no code with the simulator under test. Every token is a Python float in a list, every KV block an object, and
time advances by ``now += duration``. Tests compare the real simulator with it, and count in its step log how often a
workload meets a preemption, a chunked prompt, an interrupted decode run, a prefix hit or a breakpoint of the latency
model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class StepTime(Protocol):
    """What the naive simulator asks of a latency model."""

    def step_s(self, prefill_tokens: int, attention_work: float, decode_sequences: int, kv_tokens: int) -> float: ...


@dataclass(frozen=True)
class Engine:
    """Settings of one replica; blocks, not tokens, measure the KV cache."""

    preset: str = "vllm-v1"
    async_scheduling: bool = False
    prefix_caching: bool = False
    block_tokens: int = 16
    total_blocks: int = 1_000
    max_num_batched_tokens: int = 8_192
    max_num_seqs: int = 256
    max_model_len: int = 131_072
    cudagraph_sizes: tuple[int, ...] = ()
    step_overhead_s: float = 0.0


@dataclass(frozen=True)
class Request:
    """One row of a trace; ``prefix_ids`` name its prompt's blocks of ``prefix_block_tokens`` tokens."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()


@dataclass
class Block:
    """One KV block; ``key`` names its content while the block can be hit."""

    key: Hashable | None = None
    users: int = 0


@dataclass
class Sequence_:
    """A request inside the engine."""

    row: int
    request: Request
    computed: int = 0
    generated: int = 0
    decoding: bool = False
    finishing: bool = False
    blocks: list[Block] = field(default_factory=list)
    preemptions: int = 0
    hit_blocks: int = 0
    rejected: bool = False
    scheduled_s: float | None = None
    started_s: float | None = None
    token_times_s: list[float] = field(default_factory=list)
    finish_s: float | None = None

    @property
    def known(self) -> int:
        return self.request.prompt_tokens + self.generated


@dataclass
class Step:
    """One iteration: chunks as (row, tokens, context before), decoders as (row, computed tokens after the step)."""

    chunks: list[tuple[int, int, int]] = field(default_factory=list)
    decodes: list[tuple[int, int]] = field(default_factory=list)
    emits: list[Sequence_] = field(default_factory=list)
    members: list[Sequence_] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    start_s: float = 0.0
    end_s: float = 0.0

    @property
    def empty(self) -> bool:
        return not self.chunks and not self.decodes


class KVPool:
    """Reference-counted blocks; freed ones queue up and the longest-free one is taken first."""

    def __init__(self, total: int) -> None:
        self.free: OrderedDict[int, Block] = OrderedDict()
        for _ in range(total):
            block = Block()
            self.free[id(block)] = block
        self.by_key: dict[Hashable, Block] = {}

    def take_new(self) -> Block:
        _, block = self.free.popitem(last=False)
        if block.key is not None:
            del self.by_key[block.key]
            block.key = None
        block.users = 1
        return block

    def take_hit(self, block: Block) -> None:
        if block.users == 0:
            del self.free[id(block)]
        block.users += 1

    def release(self, blocks: list[Block]) -> None:
        """The tail of a sequence is reused before its head, so that its prefix stays hittable longest."""
        for block in reversed(blocks):
            block.users -= 1
            assert block.users >= 0
            if block.users == 0:
                self.free[id(block)] = block

    def publish(self, block: Block, key: Hashable) -> None:
        """Makes a block that has just been filled hittable, unless another block already holds that content."""
        if block.key is None and key not in self.by_key:
            block.key = key
            self.by_key[key] = block


class NaiveReplica:
    """Run one replica over a list of requests (arrival times in order)."""

    def __init__(
        self, engine: Engine, latency: StepTime, requests: Sequence[Request], prefix_block_tokens: int = 512
    ) -> None:
        self.engine = engine
        self.latency = latency
        self.prefix_block_tokens = prefix_block_tokens
        self.sequences = [Sequence_(row, request) for row, request in enumerate(requests)]
        self.pool = KVPool(engine.total_blocks)
        self.waiting: list[Sequence_] = []
        self.running: list[Sequence_] = []
        self.steps: list[Step] = []
        self.in_flight: Step | None = None
        self.decided: Step | None = None
        self.now_s = 0.0

    def run(self) -> list[Sequence_]:
        upcoming = list(self.sequences)
        while upcoming or self.in_flight is not None:
            self.now_s = upcoming[0].request.arrival_s if self.in_flight is None else self.in_flight.end_s
            while upcoming and upcoming[0].request.arrival_s <= self.now_s:
                self.arrive(upcoming.pop(0))
            self.boundary()
        assert not self.waiting
        assert not self.running
        assert len(self.pool.free) == self.engine.total_blocks
        return self.sequences

    def arrive(self, sequence: Sequence_) -> None:
        engine, request = self.engine, sequence.request
        tokens = request.prompt_tokens + request.output_tokens
        if engine.preset == "vllm-v0":
            # A sequence is computed whole, also when it is computed again just before its end.
            never_fits = tokens > min(engine.max_model_len, engine.max_num_batched_tokens)
            never_fits = never_fits or self.blocks_for(tokens) + self.watermark_blocks > engine.total_blocks
        else:
            never_fits = tokens > engine.max_model_len or self.blocks_for(tokens) > engine.total_blocks
        if never_fits:
            sequence.rejected = True
        else:
            self.waiting.append(sequence)

    def boundary(self) -> None:
        if self.in_flight is not None:
            self.end_step(self.in_flight)
            self.in_flight = None
        step, self.decided = self.decided, None
        if step is None or step.empty:
            step = self.schedule()
        if step.empty:
            assert not self.waiting, "a waiting request was stranded"
            assert not self.running, "a running request was stranded"
            return
        self.start_step(step)
        if self.engine.async_scheduling:
            self.decided = self.schedule()

    def end_step(self, step: Step) -> None:
        for sequence in step.emits:
            sequence.token_times_s.append(self.now_s)
            if len(sequence.token_times_s) == sequence.request.output_tokens:
                sequence.finish_s = self.now_s
                self.running.remove(sequence)
                self.pool.release(sequence.blocks)
                sequence.blocks = []

    def start_step(self, step: Step) -> None:
        for sequence in step.members:
            if sequence.started_s is None:
                sequence.started_s = self.now_s
        step.start_s = self.now_s
        step.end_s = self.now_s + self.duration_s(step)
        self.steps.append(step)
        self.in_flight = step

    def duration_s(self, step: Step) -> float:
        prefill_tokens = sum(tokens for _, tokens, _ in step.chunks)
        attention_work = sum(tokens * (context + (tokens + 1) / 2) for _, tokens, context in step.chunks)
        decoders = len(step.decodes)
        sizes = sorted(self.engine.cudagraph_sizes)
        if not step.chunks and sizes and decoders <= sizes[-1]:
            decoders = sizes[bisect_left(sizes, decoders)]
        kv_tokens = sum(computed for _, computed in step.decodes)
        return self.engine.step_overhead_s + self.latency.step_s(prefill_tokens, attention_work, decoders, kv_tokens)

    def schedule(self) -> Step:
        return self.schedule_v0() if self.engine.preset == "vllm-v0" else self.schedule_v1()

    def schedule_v1(self) -> Step:
        step = Step()
        budget = self.schedule_running(step, self.engine.max_num_batched_tokens)
        while self.waiting and not step.preempted and budget > 0 and len(self.running) < self.engine.max_num_seqs:
            sequence = self.waiting[0]
            hits = self.lookup(sequence)
            idle_hits = sum(block.users == 0 for block in hits)
            if self.blocks_for(sequence.known) - len(hits) + idle_hits > len(self.pool.free):
                break
            budget -= self.admit(step, sequence, hits, budget)
        return step

    def schedule_v0(self) -> Step:
        step = Step()
        budget = self.engine.max_num_batched_tokens
        while self.waiting and len(self.running) < self.engine.max_num_seqs:
            sequence = self.waiting[0]
            fits = self.blocks_for(sequence.known) + self.watermark_blocks <= len(self.pool.free)
            if sequence.known > budget or not fits:
                break
            budget -= self.admit(step, sequence, [], budget)
        if step.empty:
            self.schedule_running(step, self.engine.max_num_batched_tokens)
        return step

    def schedule_running(self, step: Step, budget: int) -> int:
        position = 0
        while position < len(self.running) and budget > 0:
            sequence = self.running[position]
            if sequence.finishing:
                position += 1
                continue
            tokens = min(sequence.known - sequence.computed, budget)
            missing = self.blocks_for(sequence.computed + tokens) - len(sequence.blocks)
            if missing > len(self.pool.free):
                victim = next(candidate for candidate in reversed(self.running) if not candidate.finishing)
                self.preempt(step, victim)
                if victim is sequence:
                    break
                continue
            self.give(step, sequence, tokens)
            budget -= tokens
            position += 1
        return budget

    def admit(self, step: Step, sequence: Sequence_, hits: list[Block], budget: int) -> int:
        self.waiting.pop(0)
        self.running.append(sequence)
        for block in hits:
            self.pool.take_hit(block)
        sequence.blocks = list(hits)
        sequence.hit_blocks += len(hits)
        sequence.computed = len(hits) * self.engine.block_tokens
        if sequence.scheduled_s is None:
            sequence.scheduled_s = self.now_s
        tokens = min(sequence.known - sequence.computed, budget)
        self.give(step, sequence, tokens)
        return tokens

    def give(self, step: Step, sequence: Sequence_, tokens: int) -> None:
        """Schedules ``tokens`` of a sequence: its blocks, its place in the step, and the token that it will emit."""
        before = sequence.computed
        sequence.computed += tokens
        while len(sequence.blocks) < self.blocks_for(sequence.computed):
            sequence.blocks.append(self.pool.take_new())
        if self.engine.prefix_caching:
            for index in range(before // self.engine.block_tokens, sequence.computed // self.engine.block_tokens):
                self.pool.publish(sequence.blocks[index], self.block_key(sequence, index))
        step.members.append(sequence)
        if sequence.decoding:
            step.decodes.append((sequence.row, sequence.computed))
        else:
            step.chunks.append((sequence.row, tokens, before))
        if sequence.computed == sequence.known:
            sequence.decoding = True
            sequence.generated += 1
            sequence.finishing = sequence.generated == sequence.request.output_tokens
            step.emits.append(sequence)

    def preempt(self, step: Step, victim: Sequence_) -> None:
        self.running.remove(victim)
        self.pool.release(victim.blocks)
        victim.blocks = []
        victim.computed = 0
        victim.decoding = False
        victim.preemptions += 1
        self.waiting.insert(0, victim)
        step.preempted.append(victim.row)

    def lookup(self, sequence: Sequence_) -> list[Block]:
        """The leading blocks of a sequence that are in the cache; at least one token is left to compute."""
        hits: list[Block] = []
        if self.engine.prefix_caching:
            for index in range((sequence.known - 1) // self.engine.block_tokens):
                block = self.pool.by_key.get(self.block_key(sequence, index))
                if block is None:
                    break
                hits.append(block)
        return hits

    def block_key(self, sequence: Sequence_, index: int) -> Hashable:
        request, size = sequence.request, self.engine.block_tokens
        chunk, offset = divmod(index * size, self.prefix_block_tokens)
        if chunk < len(request.prefix_ids) and (index + 1) * size <= request.prompt_tokens:
            return ("shared", request.prefix_ids[: chunk + 1], offset)
        return ("own", sequence.row, index)

    @property
    def watermark_blocks(self) -> int:
        """Blocks that the preset vllm-v0 keeps free at admission."""
        return int(0.01 * self.engine.total_blocks)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.engine.block_tokens)


def run_naive(
    engine: Engine, latency: Any, requests: Sequence[Request], prefix_block_tokens: int = 512
) -> NaiveReplica:
    """Runs the workload to its end and returns the replica with its ``sequences`` and ``steps``."""
    replica = NaiveReplica(engine, latency, requests, prefix_block_tokens)
    replica.run()
    return replica


@dataclass(frozen=True)
class Coverage:
    """Which of the events that end a run of unchanged decode steps a workload met."""

    preemption: bool
    chunk_end: bool
    interruption: bool
    prefix_hit: bool
    breakpoint: bool


def coverage(replica: NaiveReplica, kv_knots: Sequence[float]) -> Coverage:
    """Reads the step log; ``kv_knots`` are the inner breakpoints of the latency model in KV tokens."""
    chunks_of: dict[int, int] = {}
    for step in replica.steps:
        for row, _, _ in step.chunks:
            chunks_of[row] = chunks_of.get(row, 0) + 1
    runs = [
        (before, after)
        for before, after in zip(replica.steps, replica.steps[1:], strict=False)
        if not before.chunks
        and not after.chunks
        and before.end_s == after.start_s
        and [row for row, _ in before.decodes] == [row for row, _ in after.decodes]
    ]

    def kv(step: Step) -> int:
        return sum(computed for _, computed in step.decodes)

    arrivals = sorted(s.request.arrival_s for s in replica.sequences if not s.rejected)

    def arrived_in(step: Step) -> bool:
        index = bisect_left(arrivals, step.start_s)
        while index < len(arrivals) and arrivals[index] == step.start_s:
            index += 1
        return index < len(arrivals) and arrivals[index] <= step.end_s

    decode_only = {id(before) for before, _ in runs} | {id(after) for _, after in runs}
    return Coverage(
        preemption=any(s.preemptions for s in replica.sequences),
        chunk_end=any(chunks_of.get(s.row, 0) >= 2 for s in replica.sequences if s.preemptions == 0 and not s.rejected),
        interruption=any(id(step) in decode_only and arrived_in(step) for step in replica.steps),
        prefix_hit=any(s.hit_blocks for s in replica.sequences),
        breakpoint=any(kv(before) < knot <= kv(after) for before, after in runs for knot in kv_knots),
    )
