"""Turns what a cache knows at a decision into the observation vector of `layout.layout_for`.

No field looks ahead: streams and shadows enter as they stand after the accesses so far, prefetches once they settled.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .arms import OFF
from .future import Future
from .layout import ARM_FIELDS, layout_for
from .shadow import COVERED, ISSUED, LEAD, LEAD_UNIT, ShadowStatistics
from .simulator import DecisionPoint, PrefetchSimulator
from .standing import ALL
from .stream import LONG, SHORT, StreamFeatures

_WIDTH: Final = len(ARM_FIELDS)
(
    _UP,
    _IS_OFF,
    _STANDING,
    _CURRENT,
    _DEGREE,
    _ISSUE_RATE,
    _COVERAGE,
    _ACCURACY,
    _ISSUE_RATE_64,
    _COVERAGE_64,
    _WASTE,
    _LEAD,
) = range(_WIDTH)
_RECENT: Final = 8  # decisions that the tenant's counts look back on
_RATE: Final = 64  # decisions that the usual rate of accesses is taken over
_SLOW: Final = 16  # decisions that the slow utilisation is weighted over
_TINY: Final = 1e-9  # in place of a divisor that may be 0 together with what it divides

Floats = NDArray[np.float64]


class _Mark(NamedTuple):
    """What stood at a decision: running totals of the asker, then of all."""

    accesses: int
    misses: int
    hits: int
    latency_s: float
    issued: int
    used: int
    late: int
    useless: int
    polluted: int
    now_s: float
    each: tuple[int, ...]  # accesses by tenant
    all_accesses: int
    work_s: float
    demand_work_s: float
    submitted_work_s: float


class PrefetchObserver:
    """Observation of a decision point, float32 of shape (layout.size,).

    Attach it before the simulator's first `advance`, and call it once at each decision: some fields compare with the
    decisions before. Where one arm serves all tenants, streams and shadows are the tenants' own, weighted by their
    accesses of the last 8 decisions; everything else is of all tenants together.

    Args:
        simulator: What is observed; it asks a policy.

    Attributes:
        layout: Names and bounds of the fields; a row an arm of the menu.
    """

    def __init__(self, simulator: PrefetchSimulator) -> None:
        self._simulator = simulator
        config, trace, arms = simulator.config, simulator.trace, simulator.arms
        self.layout = layout_for(len(arms))
        self._streams = StreamFeatures.build(trace)
        self._shadow = ShadowStatistics.build(trace, arms, config.backing or trace.backing)
        self._first: list[int] = self._shadow.first.tolist()
        self._before = np.array(
            [simulator.position(code) - totals.accesses for code, totals in enumerate(simulator.counters)]
        )
        self._miss_s = config.unloaded_miss_s
        self._hit_s = config.hit_s
        self._blank = np.zeros(self.layout.size, dtype=np.float32)
        rows = self.layout.replica_matrix(self._blank)
        rows[:, _IS_OFF] = [arm.prefetcher == OFF for arm in arms]
        rows[:, _DEGREE] = [arm.degree for arm in arms]
        self._high = self.layout.high
        self._capacity = 0 if config.by_bytes else config.capacity
        self._every = config.every_accesses or 0
        self._marks: dict[int, deque[_Mark]] = {}
        self._slow: dict[int, float] = {}
        self._future = simulator.future

    def fork(self, simulator: PrefetchSimulator) -> Self:
        """The observer of a fork of the simulator: it remembers the same decisions, and goes on apart."""
        fork = copy(self)
        fork._simulator = simulator
        fork._marks = {tenant: marks.copy() for tenant, marks in self._marks.items()}
        fork._slow = self._slow.copy()
        future = simulator.future
        if future is not None and future is not self._future:
            fork._follow(future)
        return fork

    def _follow(self, future: Future) -> None:
        """Take streams and shadows from another future; they look back on the past of this one."""
        self._future = future
        rows = [(max(position - LONG, 0), position + 1) for position in future.positions]
        self._streams = self._streams.continued(rows, [of.features for of in future.continued])
        self._shadow = self._shadow.continued(rows, [of.counts for of in future.continued])
        self._first = self._shadow.first.tolist()

    def __call__(self, point: DecisionPoint) -> NDArray[np.float32]:
        """The observation at a decision point: a new array, every value within the layout's bounds."""
        simulator, tenant, now_s = self._simulator, point.tenant, point.now_s
        mark = self._mark(tenant, now_s)
        marks = self._marks.get(tenant)
        if marks is None:
            marks = self._marks[tenant] = deque(maxlen=_RATE)
            last = before = usual = mark
        else:
            last, usual = marks[-1], marks[0]
            before = marks[-_RECENT] if len(marks) >= _RECENT else usual
        out = self._blank.copy()
        self._fill_arms(out, point)
        if tenant == ALL and len(mark.each) > 1:
            long, short, stream = self._of_all(mark.each, before.each)
        else:
            long, short, stream = self._of_one(max(tenant, 0))
        issued, covered = long[ISSUED], long[COVERED]
        rows = self.layout.replica_matrix(out)
        rows[:, _ISSUE_RATE] = issued
        rows[:, _COVERAGE] = covered
        rows[:, _ACCURACY] = covered / np.maximum(issued, _TINY)  # more than 1 is clipped below
        rows[:, _ISSUE_RATE_64] = short[ISSUED]
        rows[:, _COVERAGE_64] = short[COVERED]
        np.maximum(issued - covered, 0.0, out=rows[:, _WASTE], casting="same_kind")
        rows[:, _LEAD] = long[LEAD] / np.maximum(covered * LEAD_UNIT, _TINY)

        backlog_s = simulator.tier.backlog_s(now_s)
        utilisation = self._utilisation(mark, last, backlog_s)
        slow = self._slow.get(tenant, 0.0)
        slow += (utilisation - slow) / min(max(len(marks), 1), _SLOW)
        self._slow[tenant] = slow
        accesses, misses = max(mark.accesses - before.accesses, 1), mark.misses - before.misses
        used = mark.used - before.used
        settled = used + mark.useless - before.useless
        arrived, span_s = mark.all_accesses - last.all_accesses, now_s - last.now_s
        usual_accesses, usual_s = mark.all_accesses - usual.all_accesses, now_s - usual.now_s
        submitted_s = mark.submitted_work_s - last.submitted_work_s
        self.layout.globals(out)[:] = (
            (mark.accesses - last.accesses) / arrived if arrived else float(tenant == ALL),
            (mark.hits - before.hits) / accesses,
            (mark.latency_s - before.latency_s) / (accesses * self._miss_s),
            used / settled if settled else 0.0,
            (mark.late - before.late) / used if used else 0.0,
            (mark.polluted - before.polluted) / misses if misses else 0.0,
            *stream,
            utilisation,
            slow,
            backlog_s,
            backlog_s / self._miss_s,
            (mark.demand_work_s - last.demand_work_s) / submitted_s if submitted_s > 0.0 else 0.0,
            simulator.outstanding,
            simulator.prefetches_in_flight,
            arrived * usual_s / (usual_accesses * span_s) if arrived and span_s > 0.0 else 0.0,
            (mark.issued - before.issued) / max(misses, 1),
            self._capacity,
            self._every,
            simulator.misses,
            simulator.ghost_misses,
        )
        marks.append(mark)
        np.maximum(out, 0.0, out=out)  # differences of sums may fall short of 0 by a rounding error
        return np.minimum(out, self._high, out=out)

    def _fill_arms(self, out: NDArray[np.float32], point: DecisionPoint) -> None:
        """What stands in the rows of the arms whatever the tenant does."""
        rows = self.layout.replica_matrix(out)
        rows[:, _UP] = point.action_mask
        rows[self._simulator.standing_arm(point.tenant), _STANDING] = 1.0
        current = self._simulator.current_arm(point.tenant)
        if current >= 0:
            rows[current, _CURRENT] = 1.0

    def _mark(self, tenant: int, now_s: float) -> _Mark:
        """What stands now."""
        simulator = self._simulator
        every = simulator.counters
        each = tuple([totals.accesses for totals in every])
        accesses = misses = hits = issued = useful = late = useless = polluted = 0
        latency_s = 0.0
        for totals in every if tenant == ALL else (every[tenant],):
            accesses += totals.accesses
            misses += totals.misses
            hits += totals.hits
            latency_s += totals.latency_s(now_s, self._hit_s)
            issued += totals.issued
            useful += totals.useful
            late += totals.late
            useless += totals.useless
            polluted += totals.polluted
        tier = simulator.tier
        demand_s, prefetch_s, write_s = tier.work_by_kind_s
        return _Mark(
            accesses,
            misses,
            hits,
            latency_s,
            issued,
            useful + late,
            late,
            useless,
            polluted,
            now_s,
            each,
            sum(each),
            tier.work_s(now_s),
            demand_s,
            demand_s + prefetch_s + write_s,
        )

    @staticmethod
    def _utilisation(mark: _Mark, last: _Mark, backlog_s: float) -> float:
        """Share of the tier's time in use since the last decision; where no time went by, whether it is in use."""
        span_s = mark.now_s - last.now_s
        if span_s > 0.0:
            return (mark.work_s - last.work_s) / span_s
        return 1.0 if backlog_s > 0.0 else 0.0

    def _of_one(self, tenant: int) -> tuple[Floats, Floats, list[float]]:
        """Shadows a access over the last 512 and the last 64 accesses of a tenant, shape (3, arms); its stream."""
        position = self._simulator.position(tenant)
        totals, first = self._shadow.totals, self._first[tenant]
        now = totals[first + position]
        long, short = (
            (now - totals[first + position - length]) * (1.0 / max(length, 1))
            for length in (min(position, LONG), min(position, SHORT))
        )
        return long, short, self._streams.at(tenant, position).tolist()

    def _of_all(self, each: tuple[int, ...], before: tuple[int, ...]) -> tuple[Floats, Floats, list[float]]:
        """The same of all tenants, weighted by their accesses between two marks (equally where there are none)."""
        accesses = np.array(each)
        position = accesses + self._before
        weight = accesses - before
        total = weight.sum()
        weight = weight / total if total > 0 else np.full(len(each), 1.0 / len(each))
        totals, first = self._shadow.flat, self._shadow.first
        at = first + position
        now = totals[at]
        found = []
        for window in (LONG, SHORT):
            length = np.minimum(position, window)
            found.append((weight / np.maximum(length, 1)) @ (now - totals[at - length]))
        long, short = (sums.reshape(self._shadow.totals.shape[1:]) for sums in found)
        return long, short, (weight @ self._streams.values[at]).tolist()
