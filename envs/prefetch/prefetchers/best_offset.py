"""Best-offset prefetching: the one offset that would have come in time most often.

Michaud, "Best-Offset Hardware Prefetching", HPCA 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .base import Prefetcher


def _smooth(up_to: int) -> tuple[int, ...]:
    """The numbers from 1 whose prime factors are 2, 3 and 5."""
    found = []
    for number in range(1, up_to + 1):
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            found.append(number)
    return tuple(found)


OFFSETS = _smooth(256)
"""The paper's 52 offsets."""


class BestOffset(Prefetcher):
    """Learns by trial which offset d is best: how often id - d had been fetched when an id was asked for.

    At each access that misses, or is the first use of a prefetched id, one offset is tried, in turn: if id - d stands
    among the recent requests, the offset scores. An id enters the recent requests when the fetch that it set off
    arrives, so an offset scores only if its prefetch would have come in time. A phase ends when an offset reaches
    ``top_score``, or after ``rounds`` rounds; its best offset serves through the next one, or none does where the best
    score is at most ``bad_score``. Not demand driven: it learns from fills.

    A fill that was prefetched enters the recent requests as fill - d, even if it was waited for; one on demand enters
    as itself, and only while nothing is prefetched.

    Checked against the author's code for the 2nd Data Prefetching Championship, in copies, and against an
    implementation that cites the paper: what is tried when, that a phase ends with a round, what enters the recent
    requests, the first offset (1), the offsets, SCORE_MAX 31, ROUND_MAX 100, BAD_SCORE 1, 256 recent requests. (The
    championship's version has other offsets, negative ones too, a second way into the recent requests after a delay,
    and a BAD_SCORE of 10 with a small last-level cache.) What differs: the paper prefetches one line, id + d, where a
    degree n suggests id + d, id + 2 d .. id + n d. Its prefetches do not cross pages; ids have none. Its recent
    requests are a hashed table with partial tags, where a new entry replaces the one in its place; here the oldest one
    leaves. Among equal scores the smallest offset is taken.

    Args:
        degree: Most suggestions at an access.
        top_score, rounds, bad_score: See above (the paper's SCORE_MAX, ROUND_MAX and BAD_SCORE).
        recent: Recent requests kept.
        offsets: Offsets tried (the paper's: up to 256, without prime factors above 5).
    """

    name = "best-offset"
    demand_driven = False

    def __init__(
        self,
        degree: int,
        top_score: int = 31,
        rounds: int = 100,
        bad_score: int = 1,
        recent: int = 256,
        offsets: tuple[int, ...] = OFFSETS,
    ) -> None:
        super().__init__(degree)
        self.top_score = top_score
        self.rounds = rounds
        self.bad_score = bad_score
        self.recent = recent
        self.offsets = offsets
        self.offset = 1
        """The offset in force; 0 where none is good enough."""
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._scores = [0] * len(offsets)
        self._trial = 0
        self._round = 0
        self._first_use = False

    def note_filled(self, key: int, prefetched: bool) -> None:
        if prefetched != (self.offset > 0):
            return
        recent, request = self._recent, key - self.offset
        recent.pop(request, None)
        if len(recent) >= self.recent:
            recent.popitem(last=False)
        recent[request] = None

    def note_used(self, key: int, late: bool) -> None:
        self._first_use = True

    def access(self, key: int, hit: bool) -> Sequence[int]:
        if hit and not self._first_use:
            return ()
        self._first_use = False
        self._try(key)
        offset = self.offset
        return range(key + offset, key + offset * (self.degree + 1), offset) if offset else ()

    def _try(self, key: int) -> None:
        """One step of learning."""
        trial = self._trial
        if key - self.offsets[trial] in self._recent:
            self._scores[trial] += 1
        self._trial = trial + 1
        if self._trial < len(self.offsets):
            return
        self._trial = 0
        self._round += 1
        best = max(self._scores)
        if best < self.top_score and self._round < self.rounds:
            return
        self.offset = self.offsets[self._scores.index(best)] if best > self.bad_score else 0
        self._scores = [0] * len(self.offsets)
        self._round = 0
