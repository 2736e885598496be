"""The cache and what is under way to it: takes accesses, fetches, prefetches, and keeps account of each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from copy import copy
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace
from ...traces.cache import writes_of
from ...traces.errors import HandrailError
from ..common.clock import Clock
from .arms import Arm
from .backing import make_backing
from .config import CacheConfig
from .eviction import make_eviction
from .fetch import DEMAND, PREFETCH, WRITE_BACK, Fetch, Interval
from .future import Future
from .ghost import GhostCache
from .history import History
from .layers import split_map
from .ledger import PrefetchCounts, TenantTotals
from .prefetchers.base import Prefetcher
from .results import LATE, MERGED, MISS
from .sources import Rows, Sources
from .under_way import Copies

Value = TypeVar("Value")
Column = list[Value] | dict[int, Value]
"""One entry a row; a dictionary where a fork goes on with rows of its own."""


class CacheEngine:
    """Contents, transfers under way and accounts of one replay; it knows nothing of decisions.

    Args:
        config: The cache and the tiers behind it.
        trace: The whole trace.
        start, stop: The rows that are replayed, numbered from 0 on here.
        clock: The simulation's clock.

    Attributes:
        n: Rows that are replayed.
        times: When each access was issued [s]; paces other than the open one fill it in as they go.
        tenants: Tenant of each row.
        counters: Running totals, one entry a tenant.
        row: Accesses so far.
        now_s: Simulated time.
        done: Called with tenant and time when an access that waited is done; None where nobody asks.
        settle: Lets everything under way arrive, and says what time it is then; None where things take their time.
        closed: Called with each interval that has ended and whose accesses are all done.
    """

    def __init__(self, config: CacheConfig, trace: AccessTrace, start: int, stop: int, clock: Clock) -> None:
        self.config = config
        self.trace = trace
        self.start = start
        self.n = stop - start
        self._keys: Column[int] = trace.key[start:stop].tolist()
        self._sizes: Column[int] = trace.size_bytes[start:stop].tolist()
        times_s = trace.arrival_s[start:stop] - (trace.arrival_s[start] if start else 0.0)
        # Where accesses are issued at other times than the trace's, these are filled in; such an array copies fast.
        self.times: Column[float] | array[float] = times_s.tolist() if config.demand == "open" else array("d", times_s)
        self.tenants: Column[int] = [0] * self.n if trace.tenant is None else trace.tenant[start:stop].tolist()
        self.n_tenants = 1 if trace.tenant is None else max(len(trace.tenant_names), int(trace.tenant.max()) + 1)
        self._writes: Column[bool] | None = None if trace.is_write is None else trace.is_write[start:stop].tolist()
        self._seen_only = (config.backing or trace.backing) == "seen"

        self._clock = clock
        self._backing = make_backing(config, clock, self._arrived)
        self.tier = self._backing.tier
        self.near = self._backing.near
        self.cache = make_eviction(config.eviction, config.capacity, *self._future())
        self.ghost: GhostCache | None = None
        self._by_bytes = config.by_bytes
        self._hit_s = config.hit_s
        self._under_way: dict[int, Fetch] = {}
        self._untouched: dict[int, tuple[int, int]] = {}
        self._dirty: set[int] = set()
        self._pushed_out: dict[int, bool] = {}
        """Whether each object is out because a prefetch pushed it out, and has not been asked for since."""
        self._known_bytes: dict[int, int] = {}

        self.counters = [TenantTotals() for _ in range(self.n_tenants)]
        self.missed_rows = History("q")
        self.missed_finish_s = History("d")
        self.missed_outcome = History("b")
        self.first_use_rows = History("q")
        self.row = 0
        self.now_s = 0.0
        self.intervals = [Interval(-1, 0)] * self.n_tenants
        self.done: Callable[[int, float], None] | None = None
        self.settle: Callable[[], float] | None = None
        self.closed: Callable[[Interval], None] | None = None

    def fork(self, clock: Clock, copies: Copies) -> Self:
        """An engine that goes on alike and apart. What never changes is shared, and so is what is finished.

        Whoever feeds it sets ``done``, ``settle`` and ``closed`` anew.
        """
        fork = copy(self)
        fork._clock = clock
        fork._backing = self._backing.fork(clock, copies, fork._arrived)
        fork.tier, fork.near = fork._backing.tier, fork._backing.near
        fork.cache = self.cache.fork()
        fork.ghost = None if self.ghost is None else self.ghost.fork()
        fork._under_way = {key: copies.fetch(fetch) for key, fetch in self._under_way.items()}
        fork._untouched, fork._dirty = self._untouched.copy(), self._dirty.copy()
        self._known_bytes, fork._known_bytes = split_map(self._known_bytes)
        self._pushed_out, fork._pushed_out = split_map(self._pushed_out)
        fork.counters = [totals.fork() for totals in self.counters]
        for name in ("missed_rows", "missed_finish_s", "missed_outcome", "first_use_rows"):
            setattr(fork, name, getattr(self, name).fork())
        if not isinstance(self.times, list):
            fork.times = copy(self.times)
        fork.intervals = [copies.interval(interval) for interval in self.intervals]
        fork.sources = self.sources.fork()
        fork._live = fork.sources.live
        fork._live_in_force = [
            None if live is None else own[live.name] for live, own in zip(self._live_in_force, fork._live, strict=True)
        ]
        for name in ("_tape_in_force", "_degree_in_force", "arm_in_force", "standing_arm", "issued_by_arm"):
            setattr(fork, name, getattr(self, name).copy())
        fork.done = fork.settle = fork.closed = None
        return fork

    def continue_with(self, future: Future) -> None:
        """Go on with these accesses in place of the trace's, which is forgotten."""
        first, m = future.first, len(future.trace)
        rows = range(first, first + m)
        waiting = [row for row, _ in self.waiting_rows()]
        trace = future.trace
        times = {row: self.times[row] for row in waiting} | dict(zip(rows, trace.arrival_s.tolist(), strict=True))
        tenants = [0] * m if trace.tenant is None else trace.tenant.tolist()
        self.tenants = {row: self.tenants[row] for row in waiting} | dict(zip(rows, tenants, strict=True))
        self.times = times
        self.trace = trace
        self._keys = dict(zip(rows, trace.key.tolist(), strict=True))
        self._sizes = dict(zip(rows, trace.size_bytes.tolist(), strict=True))
        if self._writes is not None:
            self._writes = dict(zip(rows, writes_of(trace).tolist(), strict=True))
        self.n = self.row + m
        self.cache.continue_with(self.start + first, trace)
        self.sources.tapes = {
            name: dict(zip(rows, future.suggestions[name], strict=True)) for name in self.sources.tapes
        }
        self._tape_in_force = [
            None if action < 0 else self.sources.tapes.get(self.arms[action].prefetcher) for action in self.arm_in_force
        ]

    def equip(self, arms: tuple[Arm, ...]) -> None:
        """Say which arms there are; none is in force yet.

        Raises:
            HandrailError: There is no such prefetcher.
        """
        self.arms = arms
        self.sources = Sources(self.trace, self.start, self.start + self.n, arms, self.n_tenants)
        self._live = self.sources.live
        self._any_live = self.sources.any_live
        self._tape_in_force: list[Rows | None] = [None] * self.n_tenants
        self._degree_in_force = [0] * self.n_tenants
        self._live_in_force: list[Prefetcher | None] = [None] * self.n_tenants
        self.arm_in_force = [-1] * self.n_tenants
        self.standing_arm = [-1] * self.n_tenants
        self.issued_by_arm = [0] * len(arms)

    def _future(self) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        return (self.trace.next_row, self.trace.key) if self.config.eviction == "belady" else (None, None)

    def run_ghost(self) -> None:
        """Run a shadow cache under the standing scheme from now on.

        Raises:
            HandrailError: The scheme or the eviction rule is none that a shadow can follow.
        """
        config = self.config
        lacks = [arm.label for arm in self.arms if arm.prefetcher in self._live[0]]
        if config.prefetcher in self._live[0] or (config.controller == "bandit" and lacks):
            raise HandrailError(
                f"a shadow cache cannot run {config.prefetcher}, which reacts to what the real cache holds; choose a "
                "standing prefetcher that looks at accesses alone, such as obl"
            )
        if config.eviction == "belady":
            raise HandrailError(f"a shadow cache cannot run {config.eviction}, which knows the future; choose another")
        self.ghost = GhostCache(make_eviction(config.eviction, config.capacity), touches=config.prefetch_touches)

    def warm(self, n: int) -> None:
        """Put the last ``n`` accesses before the replayed rows straight into the cache."""
        first = self.start - n
        trace = self.trace
        before = trace.tenant[: self.start] if trace.tenant is not None else np.zeros(self.start, dtype=np.int64)
        self.before = np.bincount(before, minlength=self.n_tenants).tolist()
        keys, sizes = trace.key[first : self.start].tolist(), trace.size_bytes[first : self.start].tolist()
        self.warm_keys, self.warm_units = keys, sizes if self._by_bytes else [1] * n
        if self._seen_only:  # what was accessed before the warm rows exists behind the cache too
            self._known_bytes.update(zip(trace.key[:first].tolist(), trace.size_bytes[:first].tolist(), strict=True))
        for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
            self._known_bytes[key] = size
            units = size if self._by_bytes else 1
            self.cache.at(first + place)
            if not self.cache.touch(key):
                self.cache.insert(key, units)
            if self.ghost is not None:
                self.ghost.access(key, units, ())
        if self.ghost is not None:
            self.ghost.misses = 0
        if self._any_live:
            tenants = [0] * n if trace.tenant is None else trace.tenant[first : self.start].tolist()
            for key, tenant in zip(keys, tenants, strict=True):
                for live in self._live[tenant].values():
                    live.access(key, hit=True)

    def put_in_force(self, tenant: int, action: int) -> None:
        """From now on this arm rules for the tenant (-1: for all)."""
        for each in range(self.n_tenants) if tenant < 0 else (tenant,):
            arm = self.arms[action]
            self.arm_in_force[each] = action
            self._degree_in_force[each] = arm.degree
            self._tape_in_force[each] = self.sources.tapes.get(arm.prefetcher)
            self._live_in_force[each] = self._live[each].get(arm.prefetcher)

    def prefetches(self) -> PrefetchCounts:
        """What became of the prefetches so far."""
        each = [totals.prefetches() for totals in self.counters]
        return PrefetchCounts(*(sum(column) for column in zip(*each, strict=True)))

    def waiting_rows(self) -> list[tuple[int, int]]:
        """Rows of the accesses under way, each with its outcome."""
        return [(row, what) for fetch in self._under_way.values() for row, what, _ in fetch.waiters]

    def check_invariants(self) -> None:
        """Hold the ledger against what there is.

        Raises:
            AssertionError: A prefetch is counted nowhere or twice.
        """
        counts = self.prefetches()
        assert counts.issued == sum(counts[1:])
        assert min(counts) >= 0
        assert counts.resident == len(self._untouched)
        assert counts.in_flight == sum(fetch.unsettled for fetch in self._under_way.values())
        assert all(key in self.cache for key in self._untouched)
        assert all(key in self.cache for key in self._dirty)

    def access(self, row: int, now_s: float) -> None:
        key, tenant = self._keys[row], self.tenants[row]
        totals = self.counters[tenant]
        totals.accesses += 1
        interval = self.intervals[tenant]
        interval.accesses += 1
        cache = self.cache
        if cache.needs_rows:
            cache.at(self.start + row)
        hit = cache.touch(key)
        if hit:
            if self._untouched:
                owner = self._untouched.pop(key, None)
                if owner is not None:
                    self._used_first(row, key, owner)
            if self._writes is not None and self._writes[row]:
                self._dirty.add(key)
        else:
            self._miss(row, key, tenant, totals, interval, now_s)
        if self.ghost is not None:
            self._shadow(row, key, tenant)
        tape = self._tape_in_force[tenant]
        suggested = () if tape is None else tape[row]
        if self._any_live:
            for live in self._live[tenant].values():
                found = live.access(key, hit)
                if live is self._live_in_force[tenant]:
                    suggested = found
        if suggested:
            if self.settle is not None:
                now_s = self.settle()
            self._prefetch(suggested[: self._degree_in_force[tenant]], row, tenant, totals, now_s)

    def _miss(self, row: int, key: int, tenant: int, totals: TenantTotals, interval: Interval, now_s: float) -> None:
        fetch = self._under_way.get(key)
        size = self._sizes[row]
        if self._writes is not None and self._writes[row]:
            self._write_absent(row, key, size, totals, fetch, now_s)
            return
        if fetch is None:
            totals.misses += 1
            totals.demand_bytes += size
            self._known_bytes[key] = size
            if self._pushed_out.get(key):
                self._pushed_out[key] = False
                totals.polluted += 1
            fetch = self._under_way[key] = Fetch(key, size, DEMAND, tenant)
            self._backing.submit(fetch, now_s)
            outcome = MISS
        else:
            totals.delayed += 1
            self._known_bytes[key] = size
            outcome = MERGED
            if fetch.unsettled:
                fetch.unsettled = False
                self.counters[fetch.tenant].late += 1
                self._backing.promote(fetch)
                self._tell_used(fetch.tenant, fetch.arm, key, late=True)
                outcome = LATE
        fetch.waiters.append((row, outcome, interval))
        interval.waited += 1
        interval.waiting += 1
        totals.waiting += 1
        totals.waiting_since_s += now_s

    def _write_absent(
        self, row: int, key: int, size: int, totals: TenantTotals, fetch: Fetch | None, now_s: float
    ) -> None:
        """A whole object is written that is not in the cache: it goes in at once, and nothing is fetched."""
        totals.misses += 1
        self._known_bytes[key] = size
        self._not_pushed_out(key)
        if fetch is not None:
            fetch.keep = False
            if fetch.unsettled:
                fetch.unsettled = False
                self.counters[fetch.tenant].dropped += 1
        self.missed_rows.append(row)
        self.missed_finish_s.append(now_s + self._hit_s)
        self.missed_outcome.append(MISS)
        totals.settled_s += self._hit_s
        self._put(key, size, now_s, by_prefetch=False)
        if key in self.cache:
            self._dirty.add(key)
        else:
            self._write_back(key, size, now_s)

    def _used_first(self, row: int, key: int, owner: tuple[int, int]) -> None:
        tenant, arm = owner
        self.counters[tenant].useful += 1
        self._known_bytes[key] = self._sizes[row]
        self.first_use_rows.append(row)
        self._tell_used(tenant, arm, key, late=False)

    def _prefetch(self, suggested: Sequence[int], row: int, tenant: int, totals: TenantTotals, now_s: float) -> None:
        cache, under_way, known = self.cache, self._under_way, self._known_bytes
        arm = self.arm_in_force[tenant]
        touches = self.config.prefetch_touches and not cache.needs_rows  # who knows the future learns nothing
        for key in suggested:
            if key in cache:
                if touches:
                    cache.touch(key)
                continue
            if key in under_way:
                continue
            size = known.get(key)
            if size is None:
                if self._seen_only:
                    continue
                size = self._sizes[row]
            totals.issued += 1
            self.issued_by_arm[arm] += 1
            fetch = Fetch(key, size, PREFETCH, tenant, arm)
            if (self._by_bytes and size > cache.capacity) or not self._backing.submit(fetch, now_s):
                totals.dropped += 1
                continue
            totals.prefetch_bytes += size
            under_way[key] = fetch
            if self.settle is not None:
                now_s = self.settle()

    def _shadow(self, row: int, key: int, tenant: int) -> None:
        ghost = self.ghost
        assert ghost is not None
        arm = self.arms[self.standing_arm[tenant]]
        tape = self.sources.tapes.get(arm.prefetcher)
        suggested = () if tape is None else tape[row][: arm.degree]
        if suggested and self._seen_only:
            suggested = tuple(other for other in suggested if other in self._known_bytes)
        ghost.access(key, self._sizes[row] if self._by_bytes else 1, suggested)

    # What arrives and what leaves.

    def _arrived(self, fetch: Fetch) -> None:
        if fetch.kind == WRITE_BACK:
            return
        key, now_s = fetch.key, self._clock.now
        del self._under_way[key]
        for row, outcome, interval in fetch.waiters:
            latency_s = now_s - self.times[row]
            totals = self.counters[self.tenants[row]]
            totals.settled_s += latency_s
            totals.waiting -= 1
            totals.waiting_since_s -= self.times[row]
            self.missed_rows.append(row)
            self.missed_finish_s.append(now_s)
            self.missed_outcome.append(outcome)
            interval.latency_s += latency_s
            if latency_s > interval.worst_s:
                interval.worst_s = latency_s
            interval.waiting -= 1
            if interval.ended and interval.waiting == 0:
                self.closed(interval)  # type: ignore[misc]
            if self.done is not None:
                self.done(self.tenants[row], now_s)
        if not fetch.keep:
            return
        prefetched = fetch.kind == PREFETCH
        if fetch.unsettled:
            fetch.unsettled = False
            self.counters[fetch.tenant].arrived += 1
            self._untouched[key] = (fetch.tenant, fetch.arm)
        self._put(key, fetch.size_bytes, now_s, by_prefetch=prefetched)
        live = self._live[fetch.tenant]
        if live:
            for prefetcher in live.values():
                prefetcher.note_filled(key, prefetched)

    def _put(self, key: int, size: int, now_s: float, *, by_prefetch: bool) -> None:
        for gone in self.cache.insert(key, size if self._by_bytes else 1):
            owner = self._untouched.pop(gone, None)
            if owner is not None:
                tenant, arm = owner
                self.counters[tenant].useless += 1
                live = self._live[tenant]
                if live and arm >= 0:
                    prefetcher = live.get(self.arms[arm].prefetcher)
                    if prefetcher is not None:
                        prefetcher.note_evicted(gone)
            if gone in self._dirty:
                self._dirty.discard(gone)
                self._write_back(gone, self._known_bytes[gone], now_s)
            if by_prefetch:
                self._pushed_out[gone] = True
        if by_prefetch:
            self._not_pushed_out(key)

    def _not_pushed_out(self, key: int) -> None:
        if self._pushed_out.get(key):
            self._pushed_out[key] = False

    def _write_back(self, key: int, size: int, now_s: float) -> None:
        self._backing.submit(Fetch(key, size, WRITE_BACK, 0), now_s)

    def _tell_used(self, tenant: int, arm: int, key: int, *, late: bool) -> None:
        live = self._live[tenant]
        if live and arm >= 0:
            prefetcher = live.get(self.arms[arm].prefetcher)
            if prefetcher is not None:
                prefetcher.note_used(key, late)
