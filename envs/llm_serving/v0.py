"""Preset ``vllm-v0``: a step is either whole prompts only or decoding only, and prompts go first.

No chunking, no prefix cache, no asynchronous scheduling. While prompts are computed the decoding sequences stall, so
the first decode step after prompts has token gaps longer than itself.
"""

from __future__ import annotations

from .replica import Replica
from .request import Request
from .scheduler import Chunk

# vLLM v0 keeps this share of blocks free when it admits.
WATERMARK = 0.01


class ReplicaV0(Replica):
    """The scheduler of vLLM v0 over the same engine state."""

    def _reset(self) -> None:
        super()._reset()
        self._watermark_blocks = int(WATERMARK * self.total_blocks)
        self._prompts_only = False  # the step that runs computes prompts
        self._stalled = False  # prompts were computed since the last decode step
        self._last_decode_s = 0.0

    def fits(self, request: Request) -> bool:
        """Whether the request can ever be served here, even if it is recomputed just before its end."""
        tokens = request.prompt + request.output
        blocks = -(-tokens // self.block_size) + self._watermark_blocks
        return tokens <= min(self.config.max_model_len, self.token_budget) and blocks <= self.total_blocks

    def longest_output(self, request: Request) -> int:
        """The most output tokens with which the request can be served here."""
        tokens = (self.total_blocks - self._watermark_blocks) * self.block_size
        return min(self.max_model_len, self.token_budget, tokens) - request.prompt

    def _start_step(self, now_s: float) -> None:
        chunks: list[Chunk] = []
        if self._resizing:
            self._resize(self.step + 1, now_s)
        if self.waiting and (self.stepwise or not self.blocked):
            self._admit(chunks, self.token_budget, now_s)
        self._prompts_only = bool(chunks)
        if chunks:
            self._close_record()
            self._begin(now_s, chunks, 0, 0)
        else:
            if self.n:
                self._schedule(self.step + 1, now_s)
            if not self.n:
                self._idle(now_s)
                return
            if self._stalled:
                self._changed = True
            self._begin(now_s, chunks, self.n, self.m)
            if self._stalled:
                self.j_limit = 1
        self._sleep()

    def _schedule(self, step: int, now_s: float) -> list[Chunk]:
        need = self.phases[step % self.block_size]
        if need <= self.kv.free:
            self.kv.take(need)
        else:
            self._cover_or_preempt(step, now_s)
        self.covered = step
        return []

    def _admit(self, chunks: list[Chunk], budget: int, now_s: float) -> None:
        waiting, running = self.waiting, self.running
        while waiting and len(running) < self.max_num_seqs:
            request = waiting[0]
            known = request.prompt + request.generated
            blocks = -(-known // self.block_size)
            if known > budget:
                return
            if self.kv.free - blocks < self._watermark_blocks:
                self.blocked = True
                return
            waiting.popleft()
            request.order = self._order
            self._order += 1
            running[request] = None
            if request.scheduled_s < 0.0:
                request.scheduled_s = now_s
            self.pending_tokens += known - request.pending
            request.pending = 0
            chunks.append(self._take_chunk(request, known, known, blocks))
            budget -= known

    def _preempt(self, request: Request, step: int, now_s: float) -> None:
        before_s = request.last_token_s
        super()._preempt(request, step, now_s)
        if self._stalled:
            request.last_token_s = max(before_s, self._last_decode_s)

    def _displace(self, request: Request, last_token_s: float) -> None:
        if self._stalled or self._prompts_only:
            last_token_s = max(request.last_token_s, self._last_decode_s)
        super()._displace(request, last_token_s)

    def _end_step(self, now_s: float) -> None:
        if not self._prompts_only:
            if self._stalled:
                self._stalled = False
                self._changed = True
                self.j = 0  # the record holds no gaps: each sequence's own is noted instead
                for request in self.running:
                    if request.finish_step >= 0:
                        since_s = max(request.last_token_s, self._last_decode_s)
                        self.sink.extra_gap(request, now_s - since_s)
            self._last_decode_s = now_s
            super()._end_step(now_s)
            return
        # Decoding stood still: the step counter counts decode steps only.
        self.step -= 1
        self._stalled = True
        self._close_record()
        for request, _, _ in self.chunks:
            self._emit(request, now_s)
            self._join(request, self.step)
            if request.leaving:
                self._finish(request, now_s)
        self.chunks = []
