"""MITHRIL: ids that come up near each other again and again, mined from their timestamps.

Yang, Karimi, Saemundsson, Wildani, Vigfusson, "Mithril: Mining Sporadic Associations for Cache Prefetching", SoCC 2017.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .base import Prefetcher


class Mithril(Prefetcher):
    """Three tables: one records, one is mined when it is full, one says what to prefetch.

    Every access bears a number. The *recording table* holds the numbers of an id's accesses until there are
    ``min_support``; then its row moves to the *mining table*. There it grows up to ``max_support`` numbers; an id with
    more is too frequent to need prefetching and leaves. A full mining table is sorted by first numbers. Two rows with
    equally many numbers are associated if no two of them, pair by pair, are further apart than ``lookahead``, and
    strongly if some pair is just 1 apart. Of the rows behind it, each id gets those strongly associated and the nearest
    other one; they join its list in the *prefetching table*. An access suggests its id's list. Then the mining table is
    empty again.

    Checked against libCacheSim and the first author's PyMimircache, from which it is taken over there, and not against
    the paper's text: the three tables, when rows move, leave and are mined, the order of mining, what makes a row a
    strong one or the nearest, lists in which the oldest is replaced. The defaults of ``min_support``, ``max_support``
    and ``lookahead`` are libCacheSim's. What differs:

    - libCacheSim records misses by default (evictions, both, or every request on demand). Here every access is
      recorded, so that suggestions do not depend on the cache.
    - It lists 2 ids an id by default; here the degree says how many.
    - It mines 5120 / min_support = 2560 rows at a time (earlier versions fewer), and bounds the other tables by shares
      of the cache's bytes. A small mining table is full sooner, and nothing is known before; on a block trace of
      114,000 accesses 256 rows foresee 7.7 % of them and 2560 foresee 7.4 %. The sizes here are this project's.
    - It allows by default that two rows differ by 1 in length and that 1 pair is too far apart (its ``confidence``).
      Scripts for the author's experiments set that to 0, which is the rule here. It also leaves out the last pair.
    - If the next row of equal length turns out not to be associated it looks for strong ones only; here the nearest is
      the nearest that is associated.
    - It gives prefetched ids that were not used a second round in the cache, which a prefetcher cannot here.

    Args:
        degree: Most suggestions at an access, and ids listed an id; the oldest leaves the list.
        min_support, max_support: Fewest and most accesses of an id that is mined.
        lookahead: Largest distance of associated accesses, in accesses (at most 100 in libCacheSim).
        mined: Rows of the mining table.
        recorded: Rows of the recording table; the oldest leaves.
        listed: Rows of the prefetching table; the oldest leaves.
    """

    name = "mithril"

    def __init__(
        self,
        degree: int,
        min_support: int = 2,
        max_support: int = 8,
        lookahead: int = 20,
        mined: int = 256,
        recorded: int = 65_536,
        listed: int = 65_536,
    ) -> None:
        super().__init__(degree)
        self.min_support = min_support
        self.max_support = max_support
        self.lookahead = lookahead
        self.mined = mined
        self.recorded = recorded
        self.listed = listed
        self._number = 0
        self._recording: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._mining: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._lists: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    def access(self, key: int, hit: bool) -> Sequence[int]:
        self._number = number = self._number + 1
        mining = self._mining
        row = mining.get(key)
        if row is not None:
            if len(row) < self.max_support:
                mining[key] = (*row, number)
            else:
                del mining[key]
        else:
            self._record(key, number)
        return self._lists.get(key, ())

    def _record(self, key: int, number: int) -> None:
        recording = self._recording
        row = recording.get(key)
        if row is None:
            if len(recording) >= self.recorded:
                recording.popitem(last=False)
            row = (number,)
        else:
            row = (*row, number)
        recording[key] = row
        if len(row) >= self.min_support:
            self._mining[key] = recording.pop(key)
            if len(self._mining) >= self.mined:
                self._mine()
                self._mining.clear()

    def _mine(self) -> None:
        rows = sorted(self._mining.items(), key=lambda item: item[1][0])
        place_of = {number: place for place, (_, numbers) in enumerate(rows) for number in numbers}
        for place, (key, numbers) in enumerate(rows):
            found = {self._nearest(rows, place)}
            for number in numbers:
                for beside in (place_of.get(number - 1, place), place_of.get(number + 1, place)):
                    if beside > place and beside not in found:
                        apart = self._apart(numbers, rows[beside][1])
                        if apart and min(apart) == 1:
                            found.add(beside)
            for behind in sorted(found):
                if behind > place:
                    self._associate(key, rows[behind][0])

    def _nearest(self, rows: list[tuple[int, tuple[int, ...]]], place: int) -> int:
        """The next row behind that is associated with the one at ``place``; ``place`` itself if there is none."""
        numbers = rows[place][1]
        horizon = numbers[0] + self.lookahead
        for behind in range(place + 1, len(rows)):
            theirs = rows[behind][1]
            if theirs[0] > horizon:
                break
            if len(theirs) == len(numbers) and self._apart(numbers, theirs):
                return behind
        return place

    def _apart(self, numbers: tuple[int, ...], theirs: tuple[int, ...]) -> list[int]:
        """How far two rows are apart, pair by pair; nothing if they are not associated."""
        if len(theirs) != len(numbers):
            return []
        apart = [abs(b - a) for a, b in zip(numbers, theirs, strict=True)]
        return apart if max(apart) <= self.lookahead else []

    def _associate(self, key: int, other: int) -> None:
        lists = self._lists
        known = lists.get(key)
        if known is None:
            if len(lists) >= self.listed:
                lists.popitem(last=False)
            lists[key] = (other,)
        elif other not in known:
            lists[key] = (other, *known[: self.degree - 1])
