"""What became of prefetches, and running totals by tenant."""

from __future__ import annotations

from typing import NamedTuple

END_STATES = ("useful", "late", "useless", "resident", "dropped", "in_flight")
"""What a prefetch can be at any time; the first three and ``dropped`` are for good."""


class PrefetchCounts(NamedTuple):
    """Prefetches by what became of them; ``issued`` is the sum of the others.

    Attributes:
        issued: All.
        useful: Accessed in the cache.
        late: Met under way by a demand access, which waited for the rest.
        useless: Evicted untouched.
        resident: In the cache, untouched so far.
        dropped: Turned away by a bounded queue, larger than the cache, or overtaken by a write.
        in_flight: Under way, and met by nobody so far.
    """

    issued: int
    useful: int
    late: int
    useless: int
    resident: int
    dropped: int
    in_flight: int


class TenantTotals:
    """Running totals of one tenant, since the start.

    Attributes:
        accesses: Demand accesses.
        misses: Those that found the object neither in the cache nor under way.
        delayed: Those that met it under way.
        settled_s: Sum of the latencies of accesses that missed or were delayed and are done [s].
        waiting: Accesses under way.
        waiting_since_s: Sum of their arrival times [s].
        issued, useful, late, useless, dropped: Prefetches.
        arrived: Prefetches that arrived before anything became of them.
        polluted: Misses on what a prefetch had pushed out.
        demand_bytes, prefetch_bytes: Bytes of fetches submitted.
    """

    __slots__ = (
        "accesses",
        "arrived",
        "delayed",
        "demand_bytes",
        "dropped",
        "issued",
        "late",
        "misses",
        "polluted",
        "prefetch_bytes",
        "settled_s",
        "useful",
        "useless",
        "waiting",
        "waiting_since_s",
    )

    def __init__(self) -> None:
        self.accesses = 0
        self.misses = 0
        self.delayed = 0
        self.settled_s = 0.0
        self.waiting = 0
        self.waiting_since_s = 0.0
        self.issued = 0
        self.useful = 0
        self.late = 0
        self.useless = 0
        self.dropped = 0
        self.arrived = 0
        self.polluted = 0
        self.demand_bytes = 0
        self.prefetch_bytes = 0

    def fork(self) -> TenantTotals:
        """Totals that go on apart."""
        fork = TenantTotals()
        for name in TenantTotals.__slots__:
            setattr(fork, name, getattr(self, name))
        return fork

    @property
    def hits(self) -> int:
        """Accesses that were served from the cache."""
        return self.accesses - self.misses - self.delayed

    def latency_s(self, now_s: float, hit_s: float) -> float:
        """Access latency that accrued so far: of what is done, and of what still waits up to now [s]."""
        return self.settled_s + self.hits * hit_s + self.waiting * now_s - self.waiting_since_s

    def prefetches(self) -> PrefetchCounts:
        """What became of the tenant's prefetches.

        ``resident`` and ``in_flight`` follow from arrivals: a prefetch arrives once, unless it was late or dropped.
        """
        resident = self.arrived - self.useful - self.useless
        in_flight = self.issued - self.arrived - self.late - self.dropped
        return PrefetchCounts(self.issued, self.useful, self.late, self.useless, resident, self.dropped, in_flight)
