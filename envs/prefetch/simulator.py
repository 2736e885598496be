"""The cache simulator: tenants access objects, a cache answers or fetches, prefetchers run ahead; SimPy is its clock.

Order of simultaneous events: the tier's server becomes free, fetches arrive (in the order in which they left the
server), decisions that took time come into effect, then accesses (in the order of the trace). A hit costs no event.
"""

from __future__ import annotations

from copy import copy
from heapq import heapify
from math import inf, isnan
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace
from ...traces.cache import writes_of
from ...traces.errors import HandrailError
from ..common.clock import Clock
from .config import CacheConfig
from .engine import CacheEngine
from .fetch import Interval
from .future import Future
from .hidden import ROWS, HiddenModel
from .ledger import PrefetchCounts
from .pace import make_pace
from .results import FIRST_USE, HIT, PrefetchResults
from .standing import ALL, StandingScheme
from .tier import EFFECT
from .under_way import Copies, fork_events

Decide = Literal["none", "policy"]

_NEVER: Final = 1 << 62
"""More accesses than any trace has."""


class Outcome(NamedTuple):
    """How an earlier decision turned out, known when all accesses that followed it are done.

    Attributes:
        decision: Number of the decision.
        item: Row of the first access after it.
        access_s: Mean latency of the tenant's accesses until the next decision.
        worst_s: The longest of them.
        accesses: How many there were.
        miss_s: An unloaded miss.
    """

    decision: int
    item: int
    access_s: float
    worst_s: float
    accesses: int
    miss_s: float

    @property
    def over_miss(self) -> float:
        """Mean latency over an unloaded miss."""
        return self.access_s / self.miss_s


class DecisionPoint(NamedTuple):
    """Where the simulator waits for an action.

    Attributes:
        now_s: Simulated time.
        item: Row of the access that comes next; where tenants fall behind the trace (paced, closed) only how many rows
            came before.
        action_mask: Legal arms, shape (arms,), bool: all of them.
        outcomes: What became known since the last decision.
        decision: Number of the decision, from 0.
        tenant: Code of the tenant whose arm is asked for; -1 where one arm serves all.
    """

    now_s: float
    item: int
    action_mask: NDArray[np.bool_]
    outcomes: tuple[Outcome, ...]
    decision: int
    tenant: int


class PrefetchSimulator:
    """Replays a trace of accesses on a cache.

    Args:
        config: The cache, the tier behind it, the standing scheme.
        trace: The accesses.
        seed: Taken as all simulators take it; nothing in this one is random.
        measured_s: Arrivals in [start, end) count in the metrics; all by default.
        decide: ``none`` (the standing scheme rules and `advance` runs to the end) or ``policy`` (a policy is asked for
            an arm of the config's menu).
        rows: Replay these rows of the trace, [start, stop), from time 0 on; all by default. Prefetchers know what came
            before.
        warm: So many rows before them go straight into the cache at the start, without time or prefetches.

    Attributes:
        arms: What is chosen among: the menu, or the standing scheme's own ladder under ``none``.
        counters: Running totals, one entry a tenant.
        decisions: Decisions answered so far.

    Raises:
        HandrailError: Trace and config do not go together.
    """

    def __init__(
        self,
        config: CacheConfig,
        trace: AccessTrace,
        seed: int = 0,
        *,
        measured_s: tuple[float, float] | None = None,
        decide: Decide = "none",
        rows: tuple[int, int] | None = None,
        warm: int = 0,
    ) -> None:
        start, stop = rows if rows is not None else (0, len(trace))
        if not 0 <= start < stop <= len(trace):
            raise HandrailError(f"{trace.name}: rows {start}:{stop} are no range of its {len(trace):,} accesses")
        if not 0 <= warm <= start:
            raise HandrailError(f"{trace.name}: {warm} rows to warm up with, but {start} come before the first")
        self.config = config
        self.trace = trace
        self.decide = decide
        self._measured_s = measured_s
        self._clock = Clock()
        self.engine = engine = CacheEngine(config, trace, start, stop, self._clock)
        engine.closed = self._close
        self.counters = engine.counters
        self.tier, self.near = engine.tier, engine.near
        self.n_tenants = engine.n_tenants
        self._askers = tuple(sorted(set(engine.tenants))) if config.per_tenant else (ALL,)
        self.standing = StandingScheme(
            config, self._askers, self.counters, self.tier, config.arms if decide == "policy" else None
        )
        self.arms = self.standing.arms
        engine.equip(self.arms)
        if config.ghost and decide == "policy":
            engine.run_ghost()
        engine.warm(warm)
        self._pace = make_pace(engine, self._clock, config)

        self._mask = np.ones(len(self.arms), dtype=bool)
        self._outcomes: list[Outcome] = []
        self._open_points: list[int] = []
        self._asked: int | None = None
        self.decisions = 0
        self._decides_once = decide == "none" and self.standing.is_fixed
        self._decided_s = 0.0
        self.future: Future | None = None
        self._next_rows = 0
        self._next_s = 0.0 if config.every_s is not None else inf

    # What is asked for from outside.

    @property
    def now_s(self) -> float:
        """Simulated time in seconds."""
        return self.engine.now_s

    @property
    def is_asking(self) -> bool:
        """Whether a decision is open."""
        return self._asked is not None

    @property
    def unread_outcomes(self) -> tuple[Outcome, ...]:
        """What closed since the last decision: no later one has reported it yet."""
        return tuple(self._outcomes)

    @property
    def accesses(self) -> int:
        """Demand accesses so far."""
        return self.engine.row

    @property
    def misses(self) -> int:
        """Demand accesses so far that found the object neither in the cache nor under way."""
        return sum([totals.misses for totals in self.counters])

    @property
    def ghost_misses(self) -> int:
        """Misses of the shadow cache; 0 where none runs."""
        return 0 if self.engine.ghost is None else self.engine.ghost.misses

    @property
    def outstanding(self) -> int:
        """Demand accesses under way."""
        return sum([totals.waiting for totals in self.counters])

    @property
    def prefetches_in_flight(self) -> int:
        """Prefetches under way that nobody waits for."""
        return sum([t.issued - t.arrived - t.late - t.dropped for t in self.counters])

    def position(self, tenant: int) -> int:
        """Accesses of the tenant before now, those before the replayed rows included."""
        return self.engine.before[tenant] + self.counters[tenant].accesses

    def cost_s(self, now_s: float) -> float:
        """Access latency that accrued so far, of all tenants [s]."""
        return sum([totals.latency_s(now_s, self.config.hit_s) for totals in self.counters])

    def standing_arm(self, tenant: int) -> int:
        """The arm that the standing scheme takes now; with ``tenant`` -1 the one for all."""
        return self.engine.standing_arm[max(tenant, 0)]

    def current_arm(self, tenant: int) -> int:
        """The arm in force; with ``tenant`` -1 the one for all."""
        return self.engine.arm_in_force[max(tenant, 0)]

    def prefetches(self) -> PrefetchCounts:
        """What became of the prefetches so far."""
        return self.engine.prefetches()

    def advance(self) -> DecisionPoint | None:
        """Run to the next decision; None at the end.

        Raises:
            HandrailError: The last decision was not answered.
        """
        if self._asked is not None:
            raise HandrailError("advance() needs apply() first: the last decision is open")
        engine, pace = self.engine, self._pace
        while True:
            if self._open_points:
                return self._ask()
            if engine.row >= engine.n:
                pace.finish()
                return self._finish()
            if self._is_due():
                self._decide()
            else:
                pace.run(min(self._next_rows, engine.n), self._next_s)

    def advance_until(self, until_s: float) -> DecisionPoint | None:
        """Run to the next decision, but no further than ``until_s`` (simulated seconds).

        A decision at that very moment is asked for. None where there is none by then: `now_s` is then ``until_s``, or
        the end where that came first. What follows is the same as without the stop.

        Raises:
            HandrailError: The last decision was not answered, or ``until_s`` is no number.
        """
        if self._asked is not None:
            raise HandrailError("advance_until() needs apply() first: the last decision is open")
        if isnan(until_s):
            raise HandrailError("advance_until() needs a time in seconds, not nan")
        engine, pace = self.engine, self._pace
        while True:
            if self._open_points:
                return self._ask()
            if engine.row >= engine.n:
                if pace.finish(until_s):
                    return self._finish()
                break
            if self._is_due():
                if not (self._next_s <= until_s if self.config.every_s is not None else pace.is_by(until_s)):
                    break
                self._decide()
                continue
            stop = min(self._next_rows, engine.n)
            if self._next_s <= until_s:
                pace.run(stop, self._next_s)
            else:
                pace.run_until(stop, until_s)
                if engine.row < stop:
                    break
        pace.settle(until_s)
        engine.now_s = max(engine.now_s, until_s)
        return None

    def fork(self) -> Self:
        """An independent copy as it stands, an open decision included.

        The same actions give the same results in both from here on. The trace, suggestions and what is finished are
        shared; what is under way and the caches' contents are copied.
        """
        fork = copy(self)
        copies = Copies()
        fork._clock = clock = Clock(self._clock.now)
        fork.engine = engine = self.engine.fork(clock, copies)
        engine.closed = fork._close
        fork.counters, fork.tier, fork.near = engine.counters, engine.tier, engine.near
        fork.standing = self.standing.fork(engine.counters, engine.tier)
        fork._pace = self._pace.fork(engine, clock)
        fork._outcomes, fork._open_points = self._outcomes.copy(), self._open_points.copy()
        links = {id(self.tier): engine.tier, id(self.near): engine.near}

        def rebound(callback: Any) -> Any:
            if isinstance(callback, _Switch):
                return callback.fork(engine)
            return getattr(links[id(callback.__self__)], callback.__name__)

        fork_events(self._clock, clock, rebound)
        return fork

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.fork()

    def hidden_model(self, rows: int = ROWS) -> HiddenModel:
        """A model of what is hidden, the accesses to come, that learns from this simulator's past.

        Args:
            rows: Accesses that it draws, of all tenants together; a fork with drawn accesses ends after them.

        Raises:
            HandrailError: This is a fork whose accesses to come were drawn.
        """
        if self.future is not None:
            raise HandrailError("a model of what is hidden learns from the true trace, not from a fork drawn anew")
        return HiddenModel(self, rows)

    def continue_with(self, future: Future, latency_factor: float = 1.0) -> None:
        """Go on with these accesses in place of the trace's; meant for forks, since the trace is forgotten.

        Args:
            future: The accesses.
            latency_factor: How many times as long the tiers take from now on, for what is under way too.
        """
        engine, now_s = self.engine, self.engine.now_s
        engine.continue_with(future)
        self.trace, self.future = engine.trace, future
        self._pace.continue_with(future)
        for link in (self.tier, self.near):
            if link is not None:
                link.forget_future(now_s)
                if latency_factor != 1.0:
                    link.rescale(now_s, latency_factor)
        if latency_factor != 1.0:
            queue = self._clock._queue
            queue[:] = [
                (at_s if kind == EFFECT else now_s + (at_s - now_s) * latency_factor, kind, number, event)
                for at_s, kind, number, event in queue
            ]
            heapify(queue)
        if self.config.every_s is not None and self._next_s < inf and engine.row < engine.n:
            self._next_s = self._grid_after(self._decided_s)

    def charged_s(self) -> float:
        """Access latency that accrued by now, of all tenants, in seconds: what a policy is charged."""
        return self.cost_s(self.engine.now_s)

    def _finish(self) -> None:
        """All accesses are done."""
        engine = self.engine
        engine.now_s = max(engine.now_s, self._clock.now)
        for interval in engine.intervals:
            self._end(interval)

    def _is_due(self) -> bool:
        if self.config.every_s is None:
            return self.engine.row >= self._next_rows
        return self._pace.upcoming_s() >= self._next_s

    def apply(self, action: int, latency_s: float = 0.0) -> None:
        """Answer the decision; the arm is in force ``latency_s`` simulated seconds later, and the old one until then.

        Raises:
            HandrailError: There is no open decision, or no such arm.
        """
        tenant = self._asked
        if tenant is None:
            raise HandrailError("apply() needs advance() first: no decision is open")
        if not 0 <= action < len(self.arms):
            raise HandrailError(f"arm {action} is none of the menu's {len(self.arms)}")
        if not latency_s >= 0.0 or latency_s == inf:
            raise HandrailError(f"a decision latency is a number of seconds, not {latency_s}")
        self._asked = None
        self.decisions += 1
        if latency_s > 0.0:
            self._clock.at(self.engine.now_s + latency_s, _Switch(self.engine, tenant, action), EFFECT)
        else:
            self.engine.put_in_force(tenant, action)

    def results(self) -> PrefetchResults:
        """Result columns of what has happened so far.

        Raises:
            HandrailError: The accesses to come were drawn anew, so that there are no columns of one trace.
        """
        if self.future is not None:
            raise HandrailError("a fork with another future has no results: its accesses are not the trace's")
        engine, config = self.engine, self.config
        rows = self._pace.order()
        arrival_s = np.array(engine.times)
        finish_s = arrival_s + config.hit_s
        outcome = np.zeros(engine.n, dtype=np.int8)
        for row, what in engine.waiting_rows():
            finish_s[row] = inf
            outcome[row] = what
        outcome[engine.first_use_rows.values()] = FIRST_USE
        missed = engine.missed_rows.values()
        finish_s[missed] = engine.missed_finish_s.values()
        outcome[missed] = engine.missed_outcome.values()
        start_s, end_s = self._measured_s or (-inf, inf)
        arrival_s, finish_s, outcome = arrival_s[rows], finish_s[rows], outcome[rows]
        # A hit's latency is what the config says, to the last digit, however late it arrived.
        access_s = np.where((outcome == HIT) | (outcome == FIRST_USE), config.hit_s, finish_s - arrival_s)
        return PrefetchResults(
            config=config,
            arrival_s=arrival_s,
            finish_s=finish_s,
            access_s=access_s,
            outcome=outcome,
            tenant=np.array(engine.tenants, dtype=np.int64)[rows],
            key=self.trace.key[engine.start : engine.start + engine.n][rows],
            size_bytes=self.trace.size_bytes[engine.start : engine.start + engine.n][rows],
            is_write=writes_of(self.trace)[engine.start : engine.start + engine.n][rows],
            row=rows + engine.start,
            measured=(arrival_s >= start_s) & (arrival_s < end_s),
            tenant_names=self.trace.tenant_names,
            prefetches=self.prefetches(),
            prefetches_by_tenant=tuple(totals.prefetches() for totals in self.counters),
            issued_by_arm={arm.label: n for arm, n in zip(self.arms, engine.issued_by_arm, strict=True)},
            polluted=sum(totals.polluted for totals in self.counters),
            fetches=tuple(self.tier.submitted),
            fetch_bytes=tuple(self.tier.submitted_bytes),
            work_s=tuple(self.tier.work_by_kind_s),
            waited_s=tuple(self.tier.waited_s),
            near_bytes=None if self.near is None else tuple(self.near.submitted_bytes),
            end_s=max(engine.now_s, self._clock.now),
            warm_keys=tuple(engine.warm_keys),
            warm_units=tuple(engine.warm_units),
        )

    # Decisions.

    def _decide(self) -> None:
        """A decision is due: the controllers choose, and in their place a policy is asked."""
        config, engine, pace = self.config, self.engine, self._pace
        at_s = pace.moment_s() if config.every_s is None else self._next_s
        pace.settle(at_s)
        engine.now_s = at_s
        if self._decides_once:
            self._next_rows, self._next_s = _NEVER, inf
        elif config.every_s is None:
            self._next_rows = engine.row + (config.every_accesses or 1)
        else:
            self._next_rows = _NEVER
            self._decided_s = at_s
            self._next_s = self._grid_after(at_s)
        self.standing.consult(at_s)
        for asker, choice in zip(self._askers, self.standing.choices, strict=True):
            for each in range(self.n_tenants) if asker == ALL else (asker,):
                engine.standing_arm[each] = choice
            if self.decide == "none":
                engine.put_in_force(asker, choice)
        if self.decide == "policy":
            self._open_points = list(reversed(self._askers))

    def _grid_after(self, at_s: float) -> float:
        """When the next decision after one at ``at_s`` is due, where seconds lie between them.

        Moments between which nothing happens are left out: nobody would hear of what was chosen there.
        """
        every_s = self.config.every_s or inf
        quiet_s = self._pace.upcoming_s() - at_s
        return at_s + (max(int(quiet_s / every_s), 0) + 1) * every_s

    def _ask(self) -> DecisionPoint:
        tenant = self._open_points.pop()
        decision, item = self.decisions, self.engine.start + self.engine.row
        interval = Interval(decision, item)
        for each in range(self.n_tenants) if tenant == ALL else (tenant,):
            self._end(self.engine.intervals[each])
            self.engine.intervals[each] = interval
        self._asked = tenant
        outcomes, self._outcomes = tuple(self._outcomes), []
        return DecisionPoint(self.engine.now_s, item, self._mask, outcomes, decision, tenant)

    def _end(self, interval: Interval) -> None:
        if not interval.ended:
            interval.ended = True
            if interval.waiting == 0:
                self._close(interval)

    def _close(self, interval: Interval) -> None:
        """All accesses of an interval are done."""
        if interval.decision < 0 or interval.accesses == 0:
            return
        hits = interval.accesses - interval.waited
        mean_s = (interval.latency_s + hits * self.config.hit_s) / interval.accesses
        worst_s = max(interval.worst_s, self.config.hit_s) if hits else interval.worst_s
        miss_s = self.config.unloaded_miss_s
        self._outcomes.append(Outcome(interval.decision, interval.item, mean_s, worst_s, interval.accesses, miss_s))


class _Switch:
    """Puts an arm in force when a decision that took time comes into effect; plain, so that it can be copied."""

    __slots__ = ("_action", "_engine", "_tenant")

    def __init__(self, engine: CacheEngine, tenant: int, action: int) -> None:
        self._engine = engine
        self._tenant = tenant
        self._action = action

    def fork(self, engine: CacheEngine) -> _Switch:
        """The same in a fork."""
        return _Switch(engine, self._tenant, self._action)

    def __call__(self, event: object) -> None:
        self._engine.put_in_force(self._tenant, self._action)
