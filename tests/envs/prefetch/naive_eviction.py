"""Every eviction rule again, as plain lists that are searched and summed anew at each call."""

from __future__ import annotations

from collections.abc import Sequence


def total(entries: list[list[int]]) -> int:
    return sum(size for _, size in entries)


def find(entries: list[list[int]], key: int) -> int:
    """Place of the entry of that id, -1 if there is none."""
    places = [place for place, entry in enumerate(entries) if entry[0] == key]
    assert len(places) <= 1
    return places[0] if places else -1


class NaiveCache:
    """A list of [id, size], oldest first; a subclass says what a touch does and who leaves."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: list[list[int]] = []

    def contents(self) -> dict[int, int]:
        return {entry[0]: entry[1] for entry in self.entries}

    def at(self, row: int) -> None:
        self.row = row

    def touch(self, key: int) -> bool:
        if key not in self.contents():
            self.missed(key)
            return False
        self.hit(key)
        return True

    def hit(self, key: int) -> None:
        pass

    def missed(self, key: int) -> None:
        pass

    def insert(self, key: int, size: int) -> tuple[int, ...]:
        if size > self.capacity:
            self.refused(key)
            return (key,)
        gone: list[int] = []
        while sum(self.contents().values()) + size > self.capacity:
            gone += self.evict(key, size)
        self.put(key, size)
        return tuple(gone)

    def refused(self, key: int) -> None:
        pass

    def put(self, key: int, size: int) -> None:
        self.entries.append([key, size])

    def evict(self, key: int, size: int) -> list[int]:
        return [self.entries.pop(0)[0]]

    def remove(self, key: int) -> None:
        place = find(self.entries, key)
        assert place >= 0
        self.entries.pop(place)


class NaiveFifo(NaiveCache):
    pass


class NaiveLru(NaiveCache):
    def hit(self, key):
        self.entries.append(self.entries.pop(find(self.entries, key)))


class NaiveClock(NaiveCache):
    """A ring of frames and a hand, as the paper draws it: an object takes the place just passed by the hand."""

    def __init__(self, capacity):
        super().__init__(capacity)
        self.hand = 0
        self.bit: dict[int, int] = {}

    def hit(self, key):
        self.bit[key] = 1

    def evict(self, key, size):
        while self.bit[self.entries[self.hand][0]]:
            self.bit[self.entries[self.hand][0]] = 0
            self.hand = (self.hand + 1) % len(self.entries)
        victim = self.entries[self.hand][0]
        self.remove(victim)
        return [victim]

    def put(self, key, size):
        self.entries.insert(self.hand, [key, size])
        self.bit[key] = 0
        self.hand = (self.hand + 1) % len(self.entries)

    def remove(self, key):
        place = find(self.entries, key)
        super().remove(key)
        del self.bit[key]
        if place < self.hand:
            self.hand -= 1
        if self.hand >= len(self.entries):
            self.hand = 0


class NaiveLfu(NaiveCache):
    def __init__(self, capacity):
        super().__init__(capacity)
        self.clock = 0
        self.rank: dict[int, tuple[int, int]] = {}

    def hit(self, key):
        self.clock += 1
        self.rank[key] = (self.rank[key][0] + 1, self.clock)

    def put(self, key, size):
        super().put(key, size)
        self.clock += 1
        self.rank[key] = (1, self.clock)

    def evict(self, key, size):
        victim = min(self.contents(), key=lambda other: self.rank[other])
        self.remove(victim)
        return [victim]


class NaiveSieve(NaiveCache):
    def __init__(self, capacity):
        super().__init__(capacity)
        self.visited: dict[int, bool] = {}
        self.hand: int | None = None  # an id; None: start at the oldest

    def hit(self, key):
        self.visited[key] = True

    def put(self, key, size):
        super().put(key, size)
        self.visited[key] = False

    def after(self, key):
        place = find(self.entries, key)
        return self.entries[place + 1][0] if place + 1 < len(self.entries) else None

    def evict(self, key, size):
        while True:
            if self.hand is None:
                self.hand = self.entries[0][0]
            if not self.visited[self.hand]:
                victim = self.hand
                self.remove(victim)
                return [victim]
            self.visited[self.hand] = False
            self.hand = self.after(self.hand)

    def remove(self, key):
        if self.hand == key:
            self.hand = self.after(key)
        super().remove(key)


class NaiveS3Fifo(NaiveCache):
    def __init__(self, capacity):
        super().__init__(capacity)
        self.small: list[list[int]] = []
        self.main: list[list[int]] = []
        self.ghost: list[list[int]] = []
        self.count: dict[int, int] = {}
        self.asked: set[int] = set()
        self.evicted_once = False

    def contents(self):
        return {entry[0]: entry[1] for entry in self.small + self.main}

    def hit(self, key):
        self.count[key] += 1

    def missed(self, key):
        if (place := find(self.ghost, key)) >= 0:
            self.ghost.pop(place)
            self.asked.add(key)

    def refused(self, key):
        self.asked.discard(key)

    def insert(self, key, size):
        if size <= self.capacity and (place := find(self.ghost, key)) >= 0:
            self.ghost.pop(place)
        return super().insert(key, size)

    def put(self, key, size):
        small_is_full = total(self.small) >= int(self.capacity * 0.1)
        to_main = key in self.asked or (small_is_full and not self.evicted_once)
        (self.main if to_main else self.small).append([key, size])
        self.asked.discard(key)
        self.count[key] = 0

    def evict(self, key, size):
        self.evicted_once = True
        if total(self.main) > self.capacity - int(self.capacity * 0.1) or not self.small:
            while True:
                victim, bytes_ = self.main.pop(0)
                if self.count[victim] == 0:
                    return [victim]
                self.count[victim] = min(self.count[victim], 3) - 1
                self.main.append([victim, bytes_])
        while self.small:
            victim, bytes_ = self.small.pop(0)
            if self.count[victim] >= 2:
                self.count[victim] = 0
                self.main.append([victim, bytes_])
                continue
            if bytes_ <= int(self.capacity * 0.9):
                self.ghost.append([victim, bytes_])
                while total(self.ghost) > int(self.capacity * 0.9):
                    self.ghost.pop(0)
            return [victim]
        return []

    def remove(self, key):
        self.small = [entry for entry in self.small if entry[0] != key]
        self.main = [entry for entry in self.main if entry[0] != key]


class NaiveArc(NaiveCache):
    def __init__(self, capacity):
        super().__init__(capacity)
        self.t1: list[list[int]] = []
        self.t2: list[list[int]] = []
        self.b1: list[list[int]] = []
        self.b2: list[list[int]] = []
        self.p = 0.0
        self.asked: dict[int, str] = {}

    def contents(self):
        return {entry[0]: entry[1] for entry in self.t1 + self.t2}

    def hit(self, key):
        for part in (self.t1, self.t2):
            if (place := find(part, key)) >= 0:
                self.t2.append(part.pop(place))
                return

    def missed(self, key):
        b1, b2 = total(self.b1), total(self.b2)
        if (place := find(self.b1, key)) >= 0:
            self.p = min(float(self.capacity), self.p + (b2 / b1 if b2 > b1 else 1.0))
            self.b1.pop(place)
            self.asked[key] = "b1"
        elif (place := find(self.b2, key)) >= 0:
            self.p = max(0.0, self.p - (b1 / b2 if b1 > b2 else 1.0))
            self.b2.pop(place)
            self.asked[key] = "b2"

    def refused(self, key):
        self.asked.pop(key, None)

    def insert(self, key, size):
        if size <= self.capacity:
            self.b1 = [entry for entry in self.b1 if entry[0] != key]
            self.b2 = [entry for entry in self.b2 if entry[0] != key]
        return super().insert(key, size)

    def put(self, key, size):
        (self.t2 if key in self.asked else self.t1).append([key, size])
        self.asked.pop(key, None)

    def evict(self, key, size):
        c = self.capacity
        if key not in self.asked:
            if total(self.t1) + total(self.b1) + size > c:
                if not self.b1:
                    return [self.t1.pop(0)[0]]
                self.b1.pop(0)
            elif sum(map(total, (self.t1, self.t2, self.b1, self.b2))) >= 2 * c and self.b2:
                self.b2.pop(0)
        t1 = total(self.t1)
        from_t1 = t1 >= self.p if self.asked.get(key) == "b2" else t1 > self.p
        if not self.t2 or (self.t1 and from_t1):
            self.b1.append(self.t1.pop(0))
            return [self.b1[-1][0]]
        self.b2.append(self.t2.pop(0))
        return [self.b2[-1][0]]

    def remove(self, key):
        self.t1 = [entry for entry in self.t1 if entry[0] != key]
        self.t2 = [entry for entry in self.t2 if entry[0] != key]


class NaiveBelady(NaiveCache):
    """Looks through the rest of the trace at each eviction."""

    def __init__(self, capacity, keys: Sequence[int]):
        super().__init__(capacity)
        self.keys = list(keys)
        self.row = -1

    def evict(self, key, size):
        rest = self.keys[self.row + 1 :]
        when = {other: rest.index(other) if other in rest else len(self.keys) for other in self.contents()}
        victim = min(when, key=lambda other: (-when[other], other))
        self.remove(victim)
        return [victim]


NAIVE = {
    "lru": NaiveLru,
    "fifo": NaiveFifo,
    "clock": NaiveClock,
    "lfu": NaiveLfu,
    "arc": NaiveArc,
    "s3fifo": NaiveS3Fifo,
    "sieve": NaiveSieve,
}


def naive_eviction(name: str, capacity: int, keys: Sequence[int]) -> NaiveCache:
    """The naive model of a rule; ``keys`` is the whole trace."""
    return NaiveBelady(capacity, keys) if name == "belady" else NAIVE[name](capacity)
