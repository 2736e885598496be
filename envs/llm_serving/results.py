"""What a replay leaves: columns, one row a request of the trace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...traces import RequestTrace
from .token_gaps import TokenGaps, expand

FINISHED, REJECTED, UNFINISHED = 0, 1, 2
"""Values of the ``status`` column."""

# Columns of a finished row as the simulator writes it.
ROW_WIDTH = 10
_ROW, _SCHEDULED, _FIRST_TOKEN, _FINISH, _GENERATED, _PREEMPTIONS, _REPLICA, _STATUS, _FROM, _TO = range(ROW_WIDTH)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS_AT_A_TIME = 1 << 22


class ServingResults:
    """Result columns, each of shape (n,) in the order of the trace; times in simulated seconds, nan where it never was.

    Attributes:
        arrival_s, prompt_tokens, output_tokens: As in the trace.
        scheduled_s: When a step that works on it was first decided.
        first_token_s, finish_s: End of the steps that emitted its first and its last token.
        tokens_generated: Tokens emitted.
        preemptions: Times it was preempted for KV blocks and computed anew.
        replica: Where it ended (int16), -1 where it never was sent.
        status: `FINISHED`, `REJECTED` (it fits no replica it was sent to) or `UNFINISHED` (int8).
        measured: Whether it counts; the others were warm-up or kept the load up.
        end_s: Simulated time at the end.
        area_s: Request seconds in the system, from a counter kept in the event handlers.
        records: For each replica its step records: start, first step's length, growth a step, steps, measured
            sequences, sequences, context tokens of the first step.
    """

    def __init__(
        self,
        trace: RequestTrace,
        rows: Floats,
        in_flight: Sequence[tuple[float, ...]],
        records: list[Floats],
        extra_ranges: Floats,
        extra_gaps: Floats,
        measured_s: tuple[float, float] | None,
        end_s: float,
        area_s: float,
    ) -> None:
        n = len(trace)
        self.trace = trace
        self.arrival_s = trace.arrival_s
        self.prompt_tokens = trace.prompt_tokens
        self.output_tokens = trace.output_tokens
        self.records = records
        self.end_s = end_s
        self.area_s = area_s
        self._extra_ranges = extra_ranges
        self._extra_gaps = extra_gaps
        if in_flight:
            rows = np.concatenate([rows, np.array(in_flight, dtype=np.float64)])
        row = rows[:, _ROW].astype(np.int64)

        def times(column: int) -> Floats:
            out = np.full(n, np.nan)
            values = rows[:, column]
            out[row] = np.where(values >= 0.0, values, np.nan)
            return out

        def numbers(column: int, kind: type, missing: int) -> NDArray:
            out = np.full(n, missing, dtype=kind)
            out[row] = rows[:, column]
            return out

        self.scheduled_s = times(_SCHEDULED)
        self.first_token_s = times(_FIRST_TOKEN)
        self.finish_s = times(_FINISH)
        self.tokens_generated: Ints = numbers(_GENERATED, np.int64, 0)
        self.preemptions: Ints = numbers(_PREEMPTIONS, np.int64, 0)
        self.replica = numbers(_REPLICA, np.int16, -1)
        self.status = numbers(_STATUS, np.int8, UNFINISHED)
        self._from: Ints = numbers(_FROM, np.int64, 0)
        self._to: Ints = numbers(_TO, np.int64, 0)
        if measured_s is None:
            self.measured = np.ones(n, dtype=bool)
        else:
            self.measured = (self.arrival_s >= measured_s[0]) & (self.arrival_s < measured_s[1])

    @cached_property
    def token_gaps(self) -> TokenGaps:
        """Gaps between the tokens of measured requests, pooled."""
        records = np.concatenate(self.records)
        extra = self._extra_gaps
        return TokenGaps(
            first=records[:, 1],
            growth=records[:, 2],
            count=records[:, 3].astype(np.int64),
            weight=records[:, 4].astype(np.int64),
            single=np.ascontiguousarray(extra[extra[:, 2] > 0.0, 1]),
        )

    @cached_property
    def longest_gap_s(self) -> Floats:
        """Longest gap between two tokens of each request; nan where it has none."""
        longest = np.full(len(self.arrival_s), -np.inf)
        for request, replica, start, stop in self._ranges():
            records = self.records[replica]
            count = _gap_steps(records)
            last_s = np.where(count > 0, records[:, 1] + records[:, 2] * (count - 1), -np.inf)
            bounds = np.empty(2 * len(start), dtype=np.int64)
            bounds[0::2], bounds[1::2] = start, stop
            # reduceat wants every index inside: one more element, which no range includes.
            maxima = np.maximum.reduceat(np.append(last_s, -np.inf), bounds)[0::2]
            np.maximum.at(longest, request, maxima)
        np.maximum.at(longest, self._extra_gaps[:, 0].astype(np.int64), self._extra_gaps[:, 1])
        return np.where(np.isinf(longest), np.nan, longest)

    @cached_property
    def gap_p99_s(self) -> Floats:
        """99th percentile (linear) of each request's own token gaps; nan where it has none."""
        parts: list[tuple[Ints, Floats]] = [(self._extra_gaps[:, 0].astype(np.int64), self._extra_gaps[:, 1])]
        out = np.full(len(self.arrival_s), np.nan)
        # A request with one range and no extra gap is done in its chunk; the few others are gathered whole.
        several = np.zeros(len(self.arrival_s), dtype=bool)
        several[self._extra_ranges[:, 0].astype(np.int64)] = True
        several[self._extra_gaps[:, 0].astype(np.int64)] = True
        for request, replica, start, stop in self._ranges():
            records = self.records[replica]
            steps = np.concatenate([[0], np.cumsum(_gap_steps(records))])
            length = steps[stop] - steps[start]
            ends = np.cumsum(length)
            first = 0
            while first < len(request):
                done = int(ends[first - 1]) if first else 0
                last = max(first + 1, int(np.searchsorted(ends, done + _STEPS_AT_A_TIME, side="right")))
                part = slice(first, last)
                owner, gaps = _gaps_of(records, request[part], start[part], stop[part])
                alone = ~several[owner]
                _quantile_by_owner(owner[alone], gaps[alone], 0.99, out)
                parts.append((owner[~alone], gaps[~alone]))
                first = last
        _quantile_by_owner(np.concatenate([o for o, _ in parts]), np.concatenate([g for _, g in parts]), 0.99, out)
        return out

    def occupancy(self, replica: int) -> tuple[Floats, Ints, Ints]:
        """(time [s], decoding sequences, context tokens they hold) of a replica whenever its batch changed."""
        records = self.records[replica]
        return records[:, 0], records[:, 5].astype(np.int64), records[:, 6].astype(np.int64)

    def _ranges(self) -> list[tuple[Ints, int, Ints, Ints]]:
        """(request, replica, first record, end record) of all gaps that are steps of records, by replica."""
        out = []
        extra = self._extra_ranges.astype(np.int64)
        for replica in range(len(self.records)):
            mine = np.flatnonzero((self.replica == replica) & (self._to > self._from))
            others = extra[extra[:, 1] == replica]
            request = np.concatenate([mine, others[:, 0]])
            if len(request):
                start = np.concatenate([self._from[mine], others[:, 2]])
                stop = np.concatenate([self._to[mine], others[:, 3]])
                out.append((request, replica, start, stop))
        return out


def _gap_steps(records: Floats) -> Ints:
    """Steps of each record that gave its decoding sequences a token; none where only prompts were computed."""
    return np.where(records[:, 5] > 0, records[:, 3], 0).astype(np.int64)


def _gaps_of(records: Floats, request: Ints, start: Ints, stop: Ints) -> tuple[Ints, Floats]:
    """Every gap of requests that decoded through records ``start ... stop``: (request, gap)."""
    width = stop - start
    which = np.repeat(np.arange(len(request)), width)
    index = np.arange(len(which)) - (np.cumsum(width) - width)[which] + start[which]
    gaps, owner = expand(records[index, 1], records[index, 2], _gap_steps(records[index]))
    return request[which][owner], gaps


def _quantile_by_owner(owner: Ints, gaps: Floats, q: float, out: Floats) -> None:
    """Write the linear quantile of each owner's gaps to ``out[owner]``."""
    if not len(owner):
        return
    order = np.lexsort((gaps, owner))
    owner, gaps = owner[order], gaps[order]
    first = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    count = np.diff(np.append(first, len(owner)))
    position = q * (count - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    low, high = gaps[first + below], gaps[first + above]
    out[owner[first]] = low + (high - low) * (position - below)
