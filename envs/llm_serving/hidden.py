"""What a router cannot know, drawn from what it has seen: output lengths, future arrivals, the end of outages.

A forecast that plays a fork of the simulator as it stands would look ahead. `HiddenModel.redraw` takes the truth out of
a fork and puts a draw in its place. Known is what has come back through the router: tokens emitted, lengths of requests
that have ended, arrivals, which replicas are up. An engine's own decisions stand as well: which requests the step that
runs computes, and whether one of them emits its last token in that step.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...traces import HandrailError
from .arrivals import Block
from .request import Request

if TYPE_CHECKING:
    from .simulator import DecisionPoint, ServingSimulator

# Arrivals, lengths of a class, and outages that are remembered.
_ARRIVALS, _LENGTHS, _OUTAGES = 512, 512, 64
# Arrivals are drawn this many in a row, so that bursts stay bursts.
_RUN = 16
_BLOCK = 16 * _RUN
# Before any outage has ended, one is expected to last as long again as it has lasted, and at least this long.
_OUTAGE_S = 60.0


class HiddenModel:
    """Learns at every decision of a run, and redraws forks of it.

    Args:
        simulator: The run; it is read for what its decision points reveal and never changed.
    """

    def __init__(self, simulator: ServingSimulator) -> None:
        self._trace = simulator.trace
        self._source = simulator.arrivals
        self._prior_tokens = simulator.estimator.prior_tokens
        self._all = _Lengths(4 * _LENGTHS)
        self._by_label: dict[int, _Lengths] = {}
        self._tokens: dict[int, int] = {}  # output lengths of ended requests whose arrival is remembered
        self._labels: dict[int, int] = {}  # of requests in flight
        self._arrivals: deque[_Arrival] = deque()
        self._last_row = -1
        self._last_s = 0.0
        self._mask: NDArray[np.bool_] = simulator.up
        self._down_since_s = dict.fromkeys(np.flatnonzero(~simulator.up).tolist(), simulator.now_s)
        self._outage_s: deque[float] = deque(maxlen=_OUTAGES)

    def note(self, point: DecisionPoint) -> None:
        """Learn from a decision point of the run: what ended, what came, what is up."""
        for outcome in point.outcomes:
            label = self._labels.pop(outcome.request, 0)
            if outcome.e2e_s < math.inf:
                tokens = int(self._trace.output_tokens[outcome.request])
                if self._arrivals and outcome.request >= self._arrivals[0].row:
                    self._tokens[outcome.request] = tokens
                self._all.add(tokens)
                self._by_label.setdefault(label, _Lengths(_LENGTHS)).add(tokens)
        row = point.request
        if row > self._last_row:  # else it has come back from a replica that went down
            self._note_arrival(row, point.prompt_tokens)
        if point.action_mask is not self._mask:
            self._note_mask(point.action_mask, point.now_s)

    def redraw(self, fork: ServingSimulator, rng: np.random.Generator, latency_factor: float = 1.0) -> None:
        """Draw everything hidden in ``fork`` anew.

        Output lengths in flight are drawn from those of ended requests (of the same class if any was as long) among the
        ones longer than what has been generated; before any has ended, from a geometric distribution with the
        estimator's prior mean. Where the router knows the lengths (``output_estimate="oracle"``) they stay. Arrivals
        are runs of past arrivals, with their gaps, prompts, prefixes and lengths, without end. Faults to come are gone;
        slowdowns and KV cuts in force stay; a replica that is down comes up after a time drawn from past outages that
        lasted longer than this one has.

        Args:
            fork: A fork of the run at a moment that has been noted; move it by ``advance_until``. It has no results.
            rng: Where all draws come from.
            latency_factor: Every step that starts from now on takes this many times as long.

        Raises:
            HandrailError: ``latency_factor`` is not positive and finite.
        """
        if not 0.0 < latency_factor < math.inf:
            raise HandrailError(f"latency_factor must be positive and finite, not {latency_factor!r}")
        in_flight = sorted(fork.in_flight(), key=lambda held: held[0].row)
        if not fork.estimator.oracle:
            for (request, least, most), u in zip(in_flight, rng.random(len(in_flight)).tolist(), strict=True):
                if not request.leaving:
                    request.output = max(least, int(min(self._draw(request.label, least, u), most)))
        now_s = fork.now_s
        up_s = {r: now_s + self._rest_of_outage_s(r, now_s, rng) for r in np.flatnonzero(~fork.up).tolist()}
        arrivals = self._drawn_arrivals([request for request, _, _ in in_flight], rng)
        fork.forget(arrivals, up_s, latency_factor)

    def _note_arrival(self, row: int, prompt: int) -> None:
        arrival_s = float(self._trace.arrival_s[row])
        label = self._source.label(row)
        self._labels[row] = label
        if self._last_row >= 0:
            prefix = tuple(self._source.prefix_ids(row))
            self._arrivals.append(_Arrival(row, arrival_s - self._last_s, prompt, label, prefix))
            if len(self._arrivals) > _ARRIVALS:
                self._tokens.pop(self._arrivals.popleft().row, None)
        self._last_row, self._last_s = row, arrival_s

    def _note_mask(self, mask: NDArray[np.bool_], now_s: float) -> None:
        for replica in np.flatnonzero(mask != self._mask).tolist():
            if mask[replica]:
                self._outage_s.append(now_s - self._down_since_s.pop(replica))
            else:
                self._down_since_s[replica] = now_s
        self._mask = mask

    def _draw(self, label: int, least: int, u: float) -> int:
        own = self._by_label.get(label)
        drawn = own.draw(least, u) if own is not None else None
        if drawn is None:
            drawn = self._all.draw(least, u)
        if drawn is None:
            mean = max(self._all.mean(), self._prior_tokens, 1.0 + 1e-9)
            drawn = least + int(math.log1p(-u) / math.log1p(-1.0 / mean))
        return drawn

    def _rest_of_outage_s(self, replica: int, now_s: float, rng: np.random.Generator) -> float:
        age_s = now_s - self._down_since_s.get(replica, now_s)
        longer = [lasted_s for lasted_s in self._outage_s if lasted_s > age_s]
        if longer:
            return longer[int(rng.integers(len(longer)))] - age_s
        return float(rng.exponential(max(age_s, _OUTAGE_S)))

    def _drawn_arrivals(self, in_flight: list[Request], rng: np.random.Generator) -> DrawnArrivals:
        past = list(self._arrivals)
        output = [self._tokens.get(arrival.row, 0) for arrival in past]
        drawn = {request.row: request.output for request in in_flight}
        for i, u in enumerate(rng.random(len(past)).tolist()):
            if not output[i]:
                output[i] = drawn.get(past[i].row) or self._draw(past[i].label, 1, u)
        known = {request.row: self._source.prefix_ids(request.row) for request in in_flight}
        return DrawnArrivals(past, output, known, int(rng.integers(1 << 62)))


class DrawnArrivals:
    """Requests like those of the past, without end; see `arrivals.Arrivals`.

    Args:
        past: Arrivals to draw from, in order; none at all give no arrivals.
        output: Output tokens of each of these.
        known: Prefix blocks of the requests in flight, by row.
        seed: Seed of the draws.
    """

    def __init__(self, past: list[_Arrival], output: list[int], known: dict[int, list[int]], seed: int) -> None:
        self._past = past
        self._gap_s = np.array([arrival.gap_s for arrival in past])
        self._output = output
        self._known = known
        self._seed = seed
        self._drawn_from: dict[int, int] = {}

    def block(self, row: int, after_s: float) -> Block | None:
        """See `arrivals.Arrivals`; the same rows give the same requests, whichever fork asks."""
        past = self._past
        if not self._gap_s.any():
            return None  # nothing has come yet, or all at one moment, which says nothing of a rate
        rng = np.random.default_rng((self._seed, row))
        run = min(_RUN, len(past))
        starts = rng.integers(0, len(past) - run + 1, size=_BLOCK // run)
        index = (starts[:, None] + np.arange(run)).ravel()
        chosen = index.tolist()
        self._drawn_from.update(enumerate(chosen, start=row))
        return Block(
            (after_s + np.cumsum(self._gap_s[index])).tolist(),
            [past[i].prompt for i in chosen],
            [self._output[i] for i in chosen],
            [past[i].label for i in chosen],
        )

    def prefix_ids(self, row: int) -> list[int]:
        """See `arrivals.Arrivals`."""
        known = self._known.get(row)
        return known if known is not None else list(self._past[self._drawn_from[row]].prefix_ids)

    def label(self, row: int) -> int:
        """See `arrivals.Arrivals`."""
        return self._past[self._drawn_from[row]].label


class _Arrival(NamedTuple):
    row: int
    gap_s: float  # since the arrival before
    prompt: int
    label: int
    prefix_ids: tuple[int, ...]


class _Lengths:
    """The latest output lengths [tokens], in order of time and of size."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._latest: deque[int] = deque()
        self._sorted: list[int] = []
        self._sum = 0

    def add(self, tokens: int) -> None:
        self._latest.append(tokens)
        insort(self._sorted, tokens)
        self._sum += tokens
        if len(self._latest) > self._most:
            oldest = self._latest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
            self._sum -= oldest

    def draw(self, least: int, u: float) -> int | None:
        """One of those of at least ``least`` tokens, by ``u`` in [0, 1); ``None`` if there is none."""
        first = bisect_left(self._sorted, least)
        count = len(self._sorted) - first
        return self._sorted[first + int(u * count)] if count else None

    def mean(self) -> float:
        return self._sum / len(self._latest) if self._latest else 0.0
