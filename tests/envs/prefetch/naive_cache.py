"""A naive simulator of caches in front of tiers: the documented rules, with no thought of speed.

It shares no code with the simulator under test and has no event queue, no heap and no running totals: what happens next
is looked for anew among everything that is under way, what became of prefetches is counted from a list of all of them.
Sums are taken in the order in which time passes, so that times agree to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

INF = math.inf
HIT, MISS, LATE, MERGED, FIRST_USE = 0, 1, 2, 3, 4
DEMAND, PREFETCH, WRITE_BACK = 0, 1, 2
FATES = ("useful", "late", "useless", "resident", "dropped", "in flight")


@dataclass(frozen=True)
class LinkSetup:
    """One link; the fields mean what they mean in ``TierConfig``."""

    latency_s: float
    service_s: float
    bandwidth: float
    discipline: str = "fifo"
    prefetch_queue: int = 1


@dataclass(frozen=True)
class Setup:
    """A cache and its rules; the fields mean what they mean in ``CacheConfig``. Arms are (prefetcher, degree)."""

    capacity: int
    tier: LinkSetup
    by_bytes: bool = False
    lru: bool = True
    hit_s: float = 0.0
    demand: str = "open"
    window: int = 1
    think_s: float = 0.0
    seen_only: bool = False
    touches: bool = False
    middle: LinkSetup | None = None
    middle_capacity: int = 1
    middle_by_bytes: bool = False
    arms: tuple[tuple[str, int], ...] = (("none", 0),)
    per_tenant: bool = False
    every_accesses: int | None = 1
    every_s: float | None = None


@dataclass
class Access:
    """One demand access and what becomes of it."""

    arrival_s: float
    key: int
    size: int
    write: bool = False
    tenant: int = 0
    suggests: dict[str, tuple[int, ...]] = field(default_factory=dict)

    issued_s: float = math.nan
    finish_s: float = INF
    outcome: int = -1


@dataclass
class Interval:
    """The accesses between two decisions."""

    decision: int
    item: int
    rows: list[int] = field(default_factory=list)
    over: bool = False
    told: bool = False


@dataclass(eq=False)
class Transfer:
    """Something that moves over links."""

    key: int
    size: int
    kind: int
    tenant: int
    arm: int = -1
    fate: str = ""
    keep: bool = True
    waiters: list[int] = field(default_factory=list)
    joined_s: float = 0.0
    urgent: bool = False
    certain: int = -1


@dataclass(eq=False)
class Entry:
    """An object in the cache."""

    key: int
    size: int
    prefetch: Transfer | None = None
    dirty: bool = False


class Line:
    """A server, those who stand in line for it, and what is on its way behind it."""

    def __init__(self, setup: LinkSetup, tick: Callable[[], int]) -> None:
        self.setup = setup
        self.tick = tick
        self.queue: list[Transfer] = []
        self.serving: Transfer | None = None
        self.done_s = INF
        self.flying: list[tuple[float, Transfer]] = []
        self.count, self.bytes, self.work_s, self.waited_s = [0] * 3, [0] * 3, [0.0] * 3, [0.0] * 3

    def takes(self, transfer: Transfer) -> bool:
        if self.setup.discipline != "bounded" or transfer.kind != PREFETCH:
            return True
        there = [*self.queue, self.serving]
        return sum(other is not None and other.kind == PREFETCH for other in there) < self.setup.prefetch_queue

    def join(self, transfer: Transfer, now_s: float) -> None:
        work_s = self.work(transfer)
        self.count[transfer.kind] += 1
        self.bytes[transfer.kind] += transfer.size
        self.work_s[transfer.kind] += work_s
        transfer.joined_s = now_s
        transfer.urgent = transfer.kind == DEMAND
        if self.setup.discipline != "demand-first":
            transfer.certain = self.tick()
        self.queue.append(transfer)
        if self.serving is None:
            self.start(now_s)

    def work(self, transfer: Transfer) -> float:
        return self.setup.service_s + transfer.size * (1.0 / self.setup.bandwidth)

    def start(self, now_s: float) -> None:
        """The idle server takes the next one."""
        line = list(self.queue)
        if self.setup.discipline == "demand-first":
            urgent = [transfer for transfer in line if transfer.urgent]
            written = [transfer for transfer in line if transfer.kind == WRITE_BACK]
            line = urgent or written or line
        if not line:
            return
        chosen = line[0]
        self.queue.remove(chosen)
        self.waited_s[chosen.kind] += now_s - chosen.joined_s
        self.serving = chosen
        self.done_s = now_s + self.work(chosen)
        if self.setup.discipline == "demand-first":
            chosen.certain = self.tick()

    def upcoming_s(self) -> float:
        """When it is heard of next: something arrives, or a server that has a choice becomes free."""
        moments = [at_s for at_s, _ in self.flying] + [self.done_s + self.setup.latency_s]
        return min([*moments, self.done_s] if self.setup.discipline == "demand-first" else moments)

    def free(self) -> None:
        """The server has done its work."""
        assert self.serving is not None
        now_s = self.done_s
        self.flying.append((now_s + self.setup.latency_s, self.serving))
        self.serving, self.done_s = None, INF
        self.start(now_s)

    def hurry(self, transfer: Transfer) -> None:
        """Somebody waits for this one now: it goes to the end of those for whom somebody waits."""
        if transfer in self.queue and self.setup.discipline == "demand-first":
            self.queue.remove(transfer)
            self.queue.append(transfer)
            transfer.urgent = True


class Naive:
    """Replays accesses.

    Args:
        setup: The rules.
        accesses: What is asked for, in the order of the trace.
        answers: For each decision the arm and how long it takes until it is in force; the last one is repeated.
        talks: Names of prefetchers that are told what happens; what they are told ends up in ``told``.
        warm: Ids and sizes that go through the cache before the start.
    """

    def __init__(
        self,
        setup: Setup,
        accesses: list[Access],
        answers: list[tuple[int, float]],
        talks: tuple[str, ...] = (),
        warm: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.setup, self.accesses, self.answers, self.talks = setup, accesses, answers, talks
        self.ticks = 0
        self.now_s = 0.0
        self.tier = Line(setup.tier, self.tick)
        self.near = None if setup.middle is None else Line(setup.middle, self.tick)
        self.lines = [self.tier] if self.near is None else [self.tier, self.near]
        self.cache: list[Entry] = []
        self.middle: list[tuple[int, int]] = []
        self.coming: list[Transfer] = []
        self.prefetches: list[Transfer] = []
        self.sizes: dict[int, int] = {}
        self.pushed_out: set[int] = set()
        self.polluted = 0
        self.written_back: list[int] = []
        self.told: list[tuple[object, ...]] = []
        self.tenants = sorted({access.tenant for access in accesses})
        self.left = {t: [r for r, a in enumerate(accesses) if a.tenant == t] for t in self.tenants}
        self.slots = {t: [0.0] * setup.window for t in self.tenants}
        self.last_s = dict.fromkeys(self.tenants, 0.0)
        self.issued: list[int] = []
        self.arm: dict[int, int | None] = dict.fromkeys(self.tenants)
        self.effects: list[tuple[float, int, int]] = []
        self.points: list[tuple[float, int, int]] = []
        self.intervals: list[Interval] = []
        self.outcomes: list[tuple[int, int, list[int]]] = []
        for key, size in warm:
            self.sizes[key] = size
            if self.find(key) is None:
                self.insert(Entry(key, size), by_prefetch=False)

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    # What happens by itself.

    def next_event_s(self) -> float:
        moments = [line.done_s for line in self.lines]
        moments += [at_s for line in self.lines for at_s, _ in line.flying]
        return min([*moments, *(at_s for at_s, _, _ in self.effects)])

    def happen(self) -> None:
        """One event: a server becomes free, or a transfer arrives, or an arm comes into force."""
        self.now_s = at_s = self.next_event_s()
        for line in self.lines:
            if line.done_s == at_s:
                line.free()
                return
        arriving = [(t.certain, t, line) for line in self.lines for when_s, t in line.flying if when_s == at_s]
        if arriving:
            _, transfer, line = min(arriving, key=lambda each: each[0])
            line.flying = [each for each in line.flying if each[1] is not transfer]
            if line is self.tier and self.near is not None:
                self.pass_on(transfer)
            else:
                self.arrive(transfer)
            return
        effect = next(effect for effect in self.effects if effect[0] == at_s)
        self.effects.remove(effect)
        self.put_in_force(effect[1], effect[2])

    def settle(self, until_s: float) -> None:
        while self.next_event_s() <= until_s and self.next_event_s() < INF:
            self.happen()

    # Transfers.

    def send(self, transfer: Transfer, now_s: float) -> bool:
        if self.near is None:
            if not self.tier.takes(transfer):
                return False
            self.tier.join(transfer, now_s)
            return True
        if transfer.kind == WRITE_BACK:
            self.near.join(transfer, now_s)
            self.tier.join(Transfer(transfer.key, transfer.size, WRITE_BACK, 0), now_s)
            return True
        there = [each for each in self.middle if each[0] == transfer.key]
        if there:
            self.middle = [each for each in self.middle if each[0] != transfer.key] + there
            self.near.join(transfer, now_s)
            return True
        if not self.tier.takes(transfer):
            return False
        self.tier.join(transfer, now_s)
        return True

    def pass_on(self, transfer: Transfer) -> None:
        """Something came from the backing tier to the middle cache."""
        assert self.near is not None
        if transfer.kind == WRITE_BACK:
            return
        if transfer.key not in [key for key, _ in self.middle]:
            units = transfer.size if self.setup.middle_by_bytes else 1
            if units <= self.setup.middle_capacity:
                self.middle.append((transfer.key, units))
                while sum(size for _, size in self.middle) > self.setup.middle_capacity:
                    self.middle.pop(0)
        self.near.join(transfer, self.now_s)
        if transfer.waiters:
            self.near.hurry(transfer)

    def arrive(self, transfer: Transfer) -> None:
        if transfer.kind == WRITE_BACK:
            return
        self.coming.remove(transfer)
        for row in transfer.waiters:
            self.finish(row, self.now_s)
        if not transfer.keep:
            return
        entry = Entry(transfer.key, transfer.size)
        if transfer.fate == "in flight":
            transfer.fate = "resident"
            entry.prefetch = transfer
        self.insert(entry, by_prefetch=transfer.kind == PREFETCH)
        for name in self.talks:
            self.told.append((transfer.tenant, name, "filled", transfer.key, transfer.kind == PREFETCH))

    def insert(self, entry: Entry, *, by_prefetch: bool) -> None:
        setup = self.setup
        units = (lambda each: each.size) if setup.by_bytes else (lambda each: 1)
        if units(entry) > setup.capacity:
            if entry.dirty:
                self.write_back(entry)
            return
        gone: list[Entry] = []
        while sum(map(units, self.cache)) + units(entry) > setup.capacity:
            gone.append(self.cache.pop(0))
        self.cache.append(entry)
        for each in gone:
            if each.prefetch is not None:
                each.prefetch.fate = "useless"
                self.tell(each.prefetch, "evicted", each.key)
            if each.dirty:
                self.write_back(each)
            if by_prefetch:
                self.pushed_out.add(each.key)
        if by_prefetch:
            self.pushed_out.discard(entry.key)

    def write_back(self, entry: Entry) -> None:
        self.written_back.append(entry.key)
        self.send(Transfer(entry.key, self.sizes[entry.key], WRITE_BACK, 0), self.now_s)

    def tell(self, prefetch: Transfer, *what: object) -> None:
        name = self.setup.arms[prefetch.arm][0]
        if name in self.talks:
            self.told.append((prefetch.tenant, name, *what))

    # Accesses.

    def find(self, key: int) -> Entry | None:
        """The object, if it is there; the eviction rule takes note."""
        for entry in self.cache:
            if entry.key == key:
                if self.setup.lru:
                    self.cache.remove(entry)
                    self.cache.append(entry)
                return entry
        return None

    def access(self, row: int, now_s: float) -> None:
        access, setup = self.accesses[row], self.setup
        self.now_s = access.issued_s = now_s
        self.issued.append(row)
        interval = [each for each in self.intervals if access.tenant in self.reach(each)]
        if interval:
            interval[-1].rows.append(row)
        entry = self.find(access.key)
        under_way = [transfer for transfer in self.coming if transfer.key == access.key]
        waits = False
        if entry is not None:
            access.outcome = HIT
            access.finish_s = now_s + setup.hit_s
            if entry.prefetch is not None:
                access.outcome = FIRST_USE
                entry.prefetch.fate = "useful"
                self.tell(entry.prefetch, "used", access.key, False)
                entry.prefetch = None
                self.sizes[access.key] = access.size
            entry.dirty = entry.dirty or access.write
        elif access.write:
            access.outcome = MISS
            access.finish_s = now_s + setup.hit_s
            self.sizes[access.key] = access.size
            self.pushed_out.discard(access.key)
            for transfer in under_way:
                transfer.keep = False
                if transfer.fate == "in flight":
                    transfer.fate = "dropped"
            self.insert(Entry(access.key, access.size, dirty=True), by_prefetch=False)
        else:
            waits = True
            self.sizes[access.key] = access.size
            self.wait(row, access, under_way[0] if under_way else None, now_s)
        tenant = access.tenant
        if not waits and setup.demand in ("paced", "closed"):
            self.slots[tenant].append(now_s + setup.hit_s + setup.think_s)
        self.prefetch(access)

    def wait(self, row: int, access: Access, transfer: Transfer | None, now_s: float) -> None:
        if transfer is None:
            access.outcome = MISS
            self.polluted += access.key in self.pushed_out
            self.pushed_out.discard(access.key)
            transfer = Transfer(access.key, access.size, DEMAND, access.tenant)
            self.coming.append(transfer)
            self.send(transfer, now_s)
        elif transfer.fate == "in flight":
            access.outcome = LATE
            transfer.fate = "late"
            for line in self.lines:
                line.hurry(transfer)
            self.tell(transfer, "used", access.key, True)
        else:
            access.outcome = MERGED
        transfer.waiters.append(row)

    def prefetch(self, access: Access) -> None:
        tenant, setup = access.tenant, self.setup
        for name in self.talks:
            self.told.append((tenant, name, "access", access.key, access.outcome in (HIT, FIRST_USE)))
        arm = self.arm[tenant]
        if arm is None:
            return
        if setup.demand == "timeless":
            self.settle(INF)
        name, degree = setup.arms[arm]
        for key in access.suggests.get(name, ())[:degree]:
            if key in [entry.key for entry in self.cache]:
                if setup.touches:
                    self.find(key)
                continue
            if key in [other.key for other in self.coming]:
                continue
            if setup.seen_only and key not in self.sizes:
                continue
            size = self.sizes.get(key, access.size)
            transfer = Transfer(key, size, PREFETCH, tenant, arm, fate="in flight")
            self.prefetches.append(transfer)
            if (setup.by_bytes and size > setup.capacity) or not self.send(transfer, self.now_s):
                transfer.fate = "dropped"
                continue
            self.coming.append(transfer)
            if setup.demand == "timeless":
                self.settle(INF)

    def finish(self, row: int, now_s: float) -> None:
        access = self.accesses[row]
        access.finish_s = now_s
        self.close_intervals()
        self.slots[access.tenant].append(now_s + self.setup.think_s)

    # Decisions.

    def reach(self, interval: Interval) -> list[int]:
        asker = self.points[interval.decision][2]
        return self.tenants if asker < 0 else [asker]

    def close_intervals(self) -> None:
        """Tell the outcome of intervals that are over and whose accesses are all done."""
        for interval in self.intervals:
            done = all(self.accesses[row].finish_s < INF for row in interval.rows)
            if interval.over and done and not interval.told:
                interval.told = True
                if interval.rows:
                    self.outcomes.append((interval.decision, interval.item, interval.rows))

    def put_in_force(self, asker: int, arm: int) -> None:
        for tenant in self.tenants if asker < 0 else [asker]:
            self.arm[tenant] = arm

    def decide(self, at_s: float) -> None:
        """All are asked for an arm; what happened up to now has happened."""
        self.now_s = at_s
        for asker in self.tenants if self.setup.per_tenant else [-1]:
            for interval in self.intervals:
                if self.points[interval.decision][2] == asker:
                    interval.over = True
            self.close_intervals()
            decision = len(self.points)
            self.points.append((at_s, len(self.issued), asker))
            self.intervals.append(Interval(decision, len(self.issued)))
            arm, latency_s = self.answers[min(decision, len(self.answers) - 1)]
            if latency_s > 0:
                self.effects.append((at_s + latency_s, asker, arm))
            else:
                self.put_in_force(asker, arm)

    # The course of time.

    def next_access(self) -> tuple[float, int]:
        """When the next access comes, as things stand, and its row; +inf and -1 while every tenant waits."""
        setup = self.setup
        if setup.demand == "open":
            row = len(self.issued)
            return self.accesses[row].arrival_s, row
        if setup.demand == "timeless":
            return self.now_s, len(self.issued)
        found = [(INF, -1)]
        for tenant in self.tenants:
            if self.left[tenant] and self.slots[tenant]:
                row = self.left[tenant][0]
                at_s = max(min(self.slots[tenant]), self.last_s[tenant])
                found.append((max(at_s, self.accesses[row].arrival_s) if setup.demand == "paced" else at_s, row))
        return min(found, key=lambda each: (each[0], self.accesses[each[1]].tenant if each[1] >= 0 else INF))

    def upcoming_s(self) -> float:
        """When anything is heard of next."""
        moments = [line.upcoming_s() for line in self.lines] + [at_s for at_s, _, _ in self.effects]
        return min([self.next_access()[0], *moments])

    def run(self) -> Naive:
        setup, n = self.setup, len(self.accesses)
        in_turn = setup.demand in ("paced", "closed")
        due_row, due_s = 0, 0.0
        while len(self.issued) < n:
            at_s, row = self.next_access()
            upcoming_s = self.upcoming_s() if in_turn else at_s
            if setup.every_accesses is not None and len(self.issued) >= due_row:
                moment_s = at_s if setup.demand == "open" else max(self.last_s.values())
                self.settle(INF if setup.demand == "timeless" else moment_s)
                self.decide(self.now_s if setup.demand == "timeless" else moment_s)
                due_row = len(self.issued) + setup.every_accesses
            elif setup.every_s is not None and upcoming_s >= due_s:
                moment_s = due_s
                self.settle(moment_s)
                quiet_s = (self.upcoming_s() if in_turn else self.next_access()[0]) - moment_s
                due_s = moment_s + (max(int(quiet_s / setup.every_s), 0) + 1) * setup.every_s
                self.decide(moment_s)
            elif self.next_event_s() <= at_s:
                self.happen()
            else:
                if setup.demand == "timeless":
                    self.settle(INF)
                    at_s = self.now_s
                if in_turn:
                    tenant = self.accesses[row].tenant
                    self.left[tenant].remove(row)
                    self.slots[tenant].remove(min(self.slots[tenant]))
                    self.last_s[tenant] = at_s
                self.access(row, at_s)
        self.effects.clear()
        self.settle(INF)
        return self

    # Accounts.

    def fates(self, tenant: int | None = None) -> tuple[int, ...]:
        """Prefetches: all, and by what became of them."""
        own = [p.fate for p in self.prefetches if tenant is None or p.tenant == tenant]
        return (len(own), *(own.count(fate) for fate in FATES))
