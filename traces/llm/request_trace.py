"""The canonical request trace: who asked for how many tokens, and when, as read-only columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import check_factor, checked_names, compact_names, feed, frozen, refuse
from ..common.timed_rows import TimedRows
from ..errors import TraceError
from . import transforms

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_TOKENS = 10**9  # no request is that long: a larger number is a wrong column


@dataclass(frozen=True, eq=False, repr=False)
class RequestTrace(TimedRows):
    """Requests in order of arrival, one array per column, all of length n and read-only.

    Attributes:
        arrival_s: Arrival time in seconds, float64, non-decreasing, first one >= 0.
        prompt_tokens: Prompt length in tokens, int64, >= 1.
        output_tokens: Response length in tokens, int64, >= 0; 0 is a failed request, present only where failed requests
            are kept on purpose. Replay needs >= 1.
        session_id: int64, -1 where a request belongs to no session; ``None`` where the trace knows no sessions.
        tenant: int64 codes into ``tenant_names`` (for BurstGPT the log type), or ``None``.
        model: int64 codes into ``model_names``, or ``None``.
        priority: int64, or ``None``.
        prefix_blocks: ``(offsets, ids)``: request i starts with the blocks ``ids[offsets[i]:offsets[i + 1]]``; offsets
            int64 of shape (n + 1,), ids int64. Equal ids mean equal content up to and with that block. Or ``None``.
        prefix_block_tokens: Tokens a block, 0 where there are no blocks.
        name: What the trace was called when it was read; not part of the content.
        notes: What reading it did (rows read, failed, dropped, spread); not part of the content.

    Raises:
        TraceError: A column of wrong shape or with a value out of its range.
    """

    ITEMS: ClassVar[str] = "requests"

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    session_id: Ints | None = None
    tenant: Ints | None = None
    tenant_names: tuple[str, ...] = ()
    model: Ints | None = None
    model_names: tuple[str, ...] = ()
    priority: Ints | None = None
    prefix_blocks: tuple[Ints, Ints] | None = None
    prefix_block_tokens: int = 0
    name: str = "trace"
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.arrival_s)
        self._set("arrival_s", frozen(self.arrival_s, np.float64, "arrival_s", n))
        for column in ("prompt_tokens", "output_tokens"):
            self._set(column, frozen(getattr(self, column), np.int64, column, n))
        for column in ("session_id", "tenant", "model", "priority"):
            if getattr(self, column) is not None:
                self._set(column, frozen(getattr(self, column), np.int64, column, n))
        self._check_ranges()
        for column in ("tenant", "model"):
            names = getattr(self, f"{column}_names")
            self._set(f"{column}_names", checked_names(column, getattr(self, column), names))
        self._check_prefix_blocks(n)
        self._set("notes", dict(self.notes))

    def _check_ranges(self) -> None:
        self._check_times()
        refuse(self.prompt_tokens < 1, "prompt_tokens", "is below 1")
        refuse(self.output_tokens < 0, "output_tokens", "is negative")
        for column in ("prompt_tokens", "output_tokens"):
            refuse(getattr(self, column) > MAX_TOKENS, column, "is too large for a number of tokens")
        if self.session_id is not None:
            refuse(self.session_id < -1, "session_id", "is below -1")

    def _check_prefix_blocks(self, n: int) -> None:
        if self.prefix_blocks is None:
            if self.prefix_block_tokens:
                raise TraceError("request trace: prefix_block_tokens is given without prefix_blocks")
            return
        offsets, ids = self.prefix_blocks
        offsets = frozen(offsets, np.int64, "prefix_blocks offsets", n + 1)
        ids = frozen(ids, np.int64, "prefix_blocks ids", len(ids))
        if self.prefix_block_tokens < 1:
            raise TraceError("request trace: prefix_block_tokens must be at least 1 where prefix_blocks are given")
        if offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
            raise TraceError("request trace: prefix_blocks offsets must rise from 0 to the number of ids")
        refuse(ids < 0, "prefix_blocks ids", "is negative")
        self._set("prefix_blocks", (offsets, ids))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the columns; name, notes and the numbering of tenant and model names play no part."""
        digest = hashlib.sha256(b"handrail request trace 1")
        for column in ("arrival_s", "prompt_tokens", "output_tokens", "session_id", "priority"):
            array = getattr(self, column)
            if array is not None:
                feed(digest, column, array)
        for column in ("tenant", "model"):
            codes = getattr(self, column)
            if codes is not None:
                codes, names = compact_names(codes, getattr(self, f"{column}_names"))
                feed(digest, f"{column} {json.dumps(names)}", codes)
        if self.prefix_blocks is not None:
            feed(digest, f"prefix offsets {self.prefix_block_tokens}", self.prefix_blocks[0])
            feed(digest, "prefix ids", self.prefix_blocks[1])
        return digest.hexdigest()

    def take(self, rows: Ints, arrival_s: Floats | None = None) -> RequestTrace:
        """The given rows (indices, in the order wanted), with new arrival times where given (shape of ``rows``)."""
        changes: dict[str, Any] = {"arrival_s": self.arrival_s[rows] if arrival_s is None else arrival_s}
        for column in ("prompt_tokens", "output_tokens", "session_id", "tenant", "model", "priority"):
            array = getattr(self, column)
            if array is not None:
                changes[column] = array[rows]
                changes[column].flags.writeable = False  # nobody else has it, so it need not be copied
        if self.prefix_blocks is not None:
            changes["prefix_blocks"] = transforms.take_ragged(*self.prefix_blocks, rows)
        return self.replace(**changes)

    def _rebased(self, rows: Ints, start_s: float) -> RequestTrace:
        return self.take(rows, self.arrival_s[rows] - start_s)

    def scale_rate(self, factor: float) -> RequestTrace:
        """Compress time by ``factor`` (2.0: twice the rate); think times stay.

        A request outside any session moves from t to t / factor. A session's first request does too, and its later
        requests keep their distance to it: users think no faster under more load. Sessions so reach further beyond the
        end of the compressed trace.
        """
        check_factor(factor)
        return transforms.in_order(self, transforms.compressed(self.arrival_s, self.session_id, factor))

    def thin(self, p: float, seed: int) -> RequestTrace:
        """Keep each session as a whole, and each request without one, with probability ``p`` in (0, 1]."""
        return self.select(transforms.thinning_mask(len(self), self.session_id, p, seed))

    def superpose(self, k: int, seed: int) -> RequestTrace:
        """Merge ``k`` copies of this trace, each but the first shifted circularly in time by a seeded offset.

        The circle is the span of the trace, closed by one mean inter-arrival time, so the rate is k times as high and
        the span stays. A session moves as a whole and never straddles the end: one that would starts earlier on the
        circle instead, so think times stay. Session ids and prefix ids of different copies differ.
        """
        return transforms.superposed(self, k, seed)

    def concat(self, other: RequestTrace) -> RequestTrace:
        """This trace, then ``other``, whose first request comes one mean inter-arrival time after this one's last.

        Session and prefix ids of ``other`` are renumbered so that they differ from this one's. Where one of the two
        lacks an optional column: no session, priority 0, tenant or model ``""``, no prefix blocks.

        Raises:
            TraceError: Both have prefix blocks, of different sizes.
        """
        return transforms.concatenated(self, other)
