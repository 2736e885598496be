"""What a replica's engine decides: which requests the next step computes, after vLLM v1's scheduler.

The decoding sequences are kept as sums, not as a list: their number, the sum of their contexts, and a histogram of
their positions in their last KV block, which says how many take a new block at each step. Contexts grow by one token a
step, so nothing of this needs an update while the sequences stay the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from heapq import heappop, heappush

from .config import ReplicaConfig
from .kv_cache import KVCache
from .request import Request

Chunk = tuple[Request, int, bool]  # request, tokens, whether it completes what is known of the request


class Scheduler(ABC):
    """Queues, KV blocks and the decoding sequences of one replica; `replica.Replica` adds the passing of time.

    Args:
        config: The replica's, with every default filled in.
        stepwise: Decide every step in full, also where nothing can have changed.
    """

    def __init__(self, config: ReplicaConfig, stepwise: bool) -> None:
        assert config.kv_capacity_tokens is not None
        assert config.max_num_seqs is not None
        assert config.max_num_batched_tokens is not None
        self.config = config
        self.stepwise = stepwise
        self.block_size = config.block_size
        self.max_num_seqs = config.max_num_seqs
        self.max_model_len = config.max_model_len
        self.token_budget = config.max_num_batched_tokens
        self.total_blocks = config.kv_capacity_tokens // config.block_size
        self.prefix_caching = bool(config.prefix_caching)
        self.cut_blocks = 0  # blocks that a KV cut in force takes away
        self._reset()

    def _reset(self) -> None:
        self.kv = KVCache(self.total_blocks)
        self.kv.take(self.cut_blocks)
        self._withheld = self.cut_blocks  # of these, the blocks given up already
        self._resizing = False  # the two differ
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}  # in the order of admission
        self.pending_tokens = 0  # known tokens of waiting and running requests that no step has computed yet
        # The decoding sequences of the latest decided step, as sums: number, measured number, sum of (context - step),
        # and how many of them take a new block at the steps congruent to h modulo the block size.
        self.n = 0
        self.m = 0
        self.base_sum = 0
        self.phases = [0] * self.block_size
        self.finishing: list[tuple[int, int, Request]] = []  # heap of (finishing step, order of admission, request)
        self.covered = 0  # the decode step up to which blocks are allocated
        self.partial: Request | None = None  # the one running request with prompt left to schedule; always the last
        self.blocked = False  # the head of waiting did not fit, and nothing has been released since
        self._order = 0
        self._preempted = 0

    def fits(self, request: Request) -> bool:
        """Whether the request can ever be served here."""
        tokens = request.prompt + request.output
        return tokens <= self.max_model_len and -(-tokens // self.block_size) <= self.total_blocks

    def longest_output(self, request: Request) -> int:
        """The most output tokens with which the request can be served here."""
        return min(self.max_model_len, self.total_blocks * self.block_size) - request.prompt

    def _join(self, request: Request, step: int) -> None:
        """After ``step``, which emits a token of the request, it decodes; or it leaves, if that token is its last."""
        emitted = request.generated + 1
        if emitted == request.output:
            request.generated = emitted
            request.leaving = True
            return
        base = request.prompt + request.generated - step
        request.generated_base = emitted - step
        request.finish_step = request.output - emitted + step
        self.n += 1
        self.base_sum += base
        self.m += request.measured
        self.phases[(1 - base) % self.block_size] += 1
        heappush(self.finishing, (request.finish_step, request.order, request))

    def _leave(self, request: Request) -> None:
        """The request is not among the decoding sequences of the next step."""
        base = request.prompt + request.generated_base - 1
        self.n -= 1
        self.base_sum -= base
        self.m -= request.measured
        self.phases[(1 - base) % self.block_size] -= 1

    def _pop_leavers(self, step: int) -> list[Request]:
        """Those whose last token is emitted by ``step``, in the order of admission."""
        finishing = self.finishing
        leavers = []
        while finishing and finishing[0][0] <= step:
            finish_step, order, request = heappop(finishing)
            if request.finish_step == finish_step and request.order == order:  # else it was preempted since
                self._leave(request)
                request.leaving = True
                leavers.append(request)
        return leavers

    def _last_coverable_step(self) -> int:
        """The last decode step for which the free blocks suffice, if the decoding sequences stay as they are."""
        size = self.block_size
        rounds, left = divmod(self.kv.free, self.n)
        step = self.covered + rounds * size
        phases = self.phases
        for _ in range(size):
            need = phases[(step + 1) % size]
            if need > left:
                break
            left -= need
            step += 1
        return step

    def _cover_through(self, step: int) -> None:
        """Take the blocks of the decoding sequences up to ``step``; it is known that they suffice."""
        size = self.block_size
        rounds, rest = divmod(step - self.covered, size)
        need = rounds * self.n
        if rest:
            # The rest of the positions lie in a row, unless they wrap around.
            stop = step % size + 1
            start = stop - rest
            phases = self.phases
            need += sum(phases[start:stop]) if start >= 0 else sum(phases[:stop]) + sum(phases[start:])
        self.kv.free -= need
        self.kv.debt += need
        self.covered = step

    def _schedule(self, step: int, now_s: float) -> list[Chunk]:
        """Decide ``step``: blocks for the decoding sequences, the next chunk of the partial prompt, admissions."""
        before = self._preempted
        if self._resizing:
            if self.covered < step - 1:
                self._cover_through(step - 1)
            self._resize(step, now_s)
        if self.covered < step:
            if self.covered < step - 1:
                self._cover_through(step - 1)
            need = self.phases[step % self.block_size]
            if need <= self.kv.free:
                if need:
                    self.kv.take(need)
            else:
                self._cover_or_preempt(step, now_s)
            self.covered = step
        chunks: list[Chunk] = []
        budget = self.token_budget - self.n
        request = self.partial
        if request is not None and budget > 0:
            known = request.prompt + request.generated
            size = min(known - request.computed, budget)
            blocks = -(-(request.computed + size) // self.block_size) + request.computed // -self.block_size
            if blocks > self.kv.free:
                self._preempt(request, step, now_s)
            else:
                chunks.append(self._take_chunk(request, known, size, blocks))
                budget -= size
        if self.waiting and before == self._preempted and (self.stepwise or not self.blocked):
            self._admit(chunks, budget, now_s)
        return chunks

    def _take_chunk(self, request: Request, known: int, size: int, blocks: int) -> Chunk:
        start = request.computed
        self.kv.take(blocks)
        request.computed = start + size
        self.pending_tokens -= size
        if request.keys and self.prefix_caching:
            self._fill_prompt(request, start // self.block_size, request.computed // self.block_size)
        completes = request.computed == known
        self.partial = None if completes else request
        return (request, size, completes)

    def _fill_prompt(self, request: Request, first: int, stop: int) -> None:
        """Blocks ``first ... stop`` of the prompt are computed: others may find them."""
        assert request.keys is not None
        assert request.held is not None
        stop = min(stop, request.own_start)
        position = 0
        for key, full in request.keys:
            if position + full > first:
                start = max(first - position, 0)
                end = min(stop - position, full)
                if end <= start:
                    return
                self.kv.fill(request.held, key, start, end)
            position += full

    def _admit(self, chunks: list[Chunk], budget: int, now_s: float) -> None:
        waiting, running, kv = self.waiting, self.running, self.kv
        size = self.block_size
        while waiting and budget > 0 and len(running) < self.max_num_seqs:
            request = waiting[0]
            known = request.prompt + request.generated
            hit = 0
            found = None
            need = -(-known // size)
            if self.prefix_caching and (request.keys or request.preemptions):
                keys = request.keys or []
                if request.preemptions:
                    keys = [*keys, (-1 - request.row, need)]
                found = kv.find(keys, (known - 1) // size)
                hit = sum(used for _, used in found)
                # A hit that is free takes a free block just as a new one does.
                need -= sum(used for extent, used in found if kv.refs[extent])
            if need > kv.free:
                self.blocked = True
                return
            waiting.popleft()
            request.held = []
            if found:
                request.held = kv.hold(found, (r.held for r in running if r.held))
            request.computed = hit * size
            self.pending_tokens += known - request.computed - request.pending
            request.order = self._order
            self._order += 1
            running[request] = None
            if request.scheduled_s < 0.0:
                request.scheduled_s = now_s
            chunk = min(known - request.computed, budget)
            blocks = -(-(request.computed + chunk) // size) - hit
            chunks.append(self._take_chunk(request, known, chunk, blocks))
            request.pending = 0
            budget -= chunk

    def _cover_or_preempt(self, step: int, now_s: float) -> None:
        """Give each decoding sequence its block in the order of admission; the last running ones make room."""
        size = self.block_size
        kv = self.kv
        for request in list(self.running):
            if request.finish_step < 0 or request.leaving or request not in self.running:
                continue
            if (request.prompt + request.generated_base - 1 + step) % size != 1 % size:
                continue
            while kv.free < 1:
                victim = next(r for r in reversed(self.running) if not r.leaving)
                self._preempt(victim, step, now_s)
                if victim is request:
                    break
            else:
                kv.take(1)

    def _resize(self, step: int, now_s: float) -> None:
        """Give up blocks to a KV cut, or take them back, when ``step`` is decided and blocks are covered before it."""
        kv = self.kv
        missing = self.cut_blocks - self._withheld
        if missing < 0:
            kv.release_anonymous(-missing)
            self.blocked = False
        else:
            while kv.free < missing:
                victim = next((r for r in reversed(self.running) if not r.leaving), None)
                if victim is None:  # those that leave give their blocks back before the next step is decided
                    missing = kv.free
                    break
                self._preempt(victim, step, now_s)
            kv.take(missing)
        self._withheld += missing
        self._resizing = self._withheld != self.cut_blocks

    def _preempt(self, request: Request, step: int, now_s: float) -> None:
        """Free everything the request holds and put it at the head of waiting; ``step`` is the one being decided."""
        self._preempted += 1
        ended_s = step - 1  # the last step whose tokens of this request are emitted
        computed = request.computed
        decoding = request.finish_step >= 0
        if decoding:
            self._leave(request)
            computed = request.prompt + request.generated_base - 1 + ended_s
            request.generated = request.generated_base + ended_s
            request.finish_step = -1
        del self.running[request]
        if self.partial is request:
            self.partial = None
        blocks = -(-computed // self.block_size)
        held = request.held or []
        if self.prefix_caching:
            self._fill_own(request, held, computed // self.block_size)
        self.kv.release(held, blocks - self.kv.blocks_of(held))
        request.held = None
        self._victim_stopped(request, decoding, now_s)
        known = request.prompt + request.generated
        self.pending_tokens += known if decoding else request.computed
        request.computed = 0
        request.pending = known
        request.preemptions += 1
        self.waiting.appendleft(request)
        self.blocked = False

    def _fill_own(self, request: Request, held: list[int], full_blocks: int) -> None:
        """The request may find its own tokens' blocks again when it is recomputed, as far as they are still there."""
        filled = self.kv.blocks_of(held)
        if full_blocks > max(filled, request.own_start):
            start = max(filled, request.own_start) - request.own_start
            self.kv.fill(held, -1 - request.row, start, full_blocks - request.own_start)

    @abstractmethod
    def _victim_stopped(self, request: Request, decoding: bool, now_s: float) -> None:
        """A request has been preempted; ``decoding`` says that it was among the decoding sequences."""
