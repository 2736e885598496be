"""One transfer from a tier to the cache, or back, and the accesses that wait for it."""

from __future__ import annotations

from typing import Final

DEMAND: Final = 0
PREFETCH: Final = 1
WRITE_BACK: Final = 2
KINDS = ("demand", "prefetch", "write_back")
"""Names of the kinds."""


class Interval:
    """The accesses of one tenant (or all) between two decisions, and how they turned out.

    Attributes:
        decision: Number of the decision that they followed; -1 before the first.
        item: Row of the first access after that decision.
        accesses: How many.
        waited: Of these, those that had to wait.
        waiting: Of these, those that still wait.
        ended: Whether the next decision has come.
        latency_s: Sum of the latencies of those that waited and are done [s].
        worst_s: Largest of them [s].
    """

    __slots__ = ("accesses", "decision", "ended", "item", "latency_s", "waited", "waiting", "worst_s")

    def __init__(self, decision: int, item: int) -> None:
        self.decision = decision
        self.item = item
        self.accesses = 0
        self.waited = 0
        self.waiting = 0
        self.ended = False
        self.latency_s = 0.0
        self.worst_s = 0.0


class Fetch:
    """A transfer under way.

    Attributes:
        key: Id of the object.
        size_bytes: What is transferred.
        kind: ``DEMAND``, ``PREFETCH`` or ``WRITE_BACK``.
        tenant: Whose access or prefetch it is.
        arm: Arm that issued it; -1 for none.
        unsettled: Whether it is a prefetch that nothing has become of yet.
        keep: Whether it goes into the cache when it arrives; no longer once a write has put the object there.
        waiters: The accesses that wait for it: row, outcome and interval of each.
    """

    __slots__ = ("arm", "keep", "key", "kind", "size_bytes", "tenant", "unsettled", "waiters")

    def __init__(self, key: int, size_bytes: int, kind: int, tenant: int, arm: int = -1) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.kind = kind
        self.tenant = tenant
        self.arm = arm
        self.unsettled = kind == PREFETCH
        self.keep = True
        self.waiters: list[tuple[int, int, Interval]] = []
